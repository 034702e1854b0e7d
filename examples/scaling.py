"""What one training on several processes costs: measured here with one and two, and what that predicts for more machines.

    python examples/scaling.py [--steps 20]     needs minitl[mpi]; two minutes

Measures the seconds per step of the classic network and of `fast_cifar` in one process with two threads, and in two processes
of one thread each that share every batch (`minitl.distributed`). Then a model of the cost:

    seconds(k machines) = compute(k) + communication(k),  compute(k) = seconds of one process x (share of the batch, 1 / k)
    communication(k) = bytes of all gradients x (k - 1) / bandwidth      (each gets those of all others; none is hidden)

The table is a prediction from it, for machines like this one, not a measurement.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

BATCHES = {"classic": 128, "fast_cifar": 256}
NETWORKS = (1, 10, 100)  # Gbit/s
QUIET = {**os.environ, "MINITL_QUIET": "1"}  # what is printed are numbers


def measure(name: str, steps: int) -> None:
    """Print the median of the seconds per step, and the bytes of the gradients; runs alone or under mpirun."""
    from minitl import Sequential
    from minitl.applications import classic
    from minitl.applications.fast_cifar import fast_cifar
    from minitl.callbacks import Callback

    class Clock(Callback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            self.times.append(time.perf_counter())

    batch = BATCHES[name]
    model: Sequential = classic(10) if name == "classic" else fast_cifar()
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).standard_normal((batch, 32, 32, 3), dtype=np.float32)
    clock = Clock()
    model.fit(x, np.arange(batch) % 10, batch_size=batch, epochs=steps + 3, verbose=0, callbacks=[clock])
    size = sum(w.nbytes for layer in model.layers for w in layer.parameters.values())
    print(float(np.median(np.diff(clock.times)[2:])), size)


def main(steps: int) -> dict[str, tuple[float, float]]:
    """Measure and predict; returns the seconds per step of one and of two processes."""
    mpirun = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if mpirun is None:
        raise SystemExit("needs mpirun: pip install minitl[mpi]")
    results = {}
    for name, batch in BATCHES.items():
        command = [sys.executable, __file__, "--measure", name, "--steps", str(steps)]
        one, two = (
            subprocess.run(before + command, env=QUIET, capture_output=True, text=True, check=True).stdout.split()
            for before in ([], [mpirun, "-n", "2"])
        )
        alone, together, size = float(one[0]), float(two[0]), int(one[1])
        results[name] = alone, together
        print(f"\n{name}, batch {batch}: {1000 * alone:.1f} ms per step in one process, {1000 * together:.1f} ms in two")
        print(f"rate of two processes: {alone / together:.2f} of one's; gradients: {size / 1e6:.2f} MB\n")
        print("predicted rate, times one machine's:")
        print(f"{'machines':<14}" + "".join(f"{f'{gigabits} Gbit/s':>14}" for gigabits in NETWORKS))
        half = dict.fromkeys(NETWORKS, 0)
        for k in (2, 4, 8, 16, 32, 64):
            cells = []
            for gigabits in NETWORKS:
                compute, message = alone / k, size * (k - 1) * 8 / (gigabits * 1e9)
                if message >= compute and not half[gigabits]:
                    half[gigabits] = k
                cells.append(alone / (compute + message))
            print(f"{k:<14}" + "".join(f"{cell:>14.2f}" for cell in cells))
        for gigabits, k in half.items():
            said = f"from {k} machines on" if k else "beyond 64 machines"
            print(f"communication is half of a step at {gigabits} Gbit/s {said}")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure, given.steps)
    else:
        main(given.steps)
