"""Where the time of a call goes: into the kernels, into the optimizer's pass, or into Python between them.

    python benchmarks/overhead.py [--network classic] [--rounds 300]

Every launch of `minitl.kernels.launch` is timed, the launches of a recorded pass together, and Adam's compiled pass; what is left
is Python, with the loss. Then the same steps again with launches that do nothing, and with launches that fill 2 MB instead, as
much as a level-2 cache holds: Python alone, with the caches to itself and without. Medians of single calls, two threads.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import harness

CASES = (("infer", 1), ("infer", 32), ("step", 32), ("step", 128), ("step", 256), ("frozen step", 128))
LEVEL_2 = 1 << 21  # bytes

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="classic")
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    harness.prepare()

    import numpy as np
    import workloads
    from engines import Minitl

    from minitl.kernels import launch, recording, updates
    from minitl.transfer import freeze

    spent: dict[str, list[float]] = {"launches": [], "adam": []}
    something = np.zeros(LEVEL_2, np.uint8)

    def timed(run: Callable[..., None]) -> Callable[..., None]:
        """The same function, which notes how long it took."""

        def run_timed(*task: object) -> None:
            started = time.perf_counter()
            run(*task)
            spent["launches"].append(time.perf_counter() - started)

        return run_timed

    def timed_adam(run: Callable[..., None]) -> Callable[..., None]:
        """The same function, whose launch counts as Adam's."""

        def run_timed(*task: object) -> None:
            before = len(spent["launches"])
            run(*task)
            spent["adam"] += spent["launches"][before:]
            del spent["launches"][before:]

        return run_timed

    def measure(call: Callable[[], Any], run: Callable[..., None]) -> tuple[float, float, float]:
        """Medians in microseconds: of the call, and of what it spent in launches and in Adam's pass."""
        rounds = []
        with (
            mock.patch.object(launch, "_launch", timed(run)),
            mock.patch.object(recording, "_play", timed(recording._play)),
            mock.patch.object(updates, "launch", timed_adam(updates.launch)),
        ):
            for _ in range(arguments.rounds):
                spent["launches"].clear()
                spent["adam"].clear()
                started = time.perf_counter()
                call()
                rounds.append((time.perf_counter() - started, sum(spent["launches"]), sum(spent["adam"])))
        whole, inside, adam = 1e6 * np.median(rounds, axis=0)
        return float(whole), float(inside), float(adam)

    @contextlib.contextmanager
    def anything_goes() -> Iterator[None]:
        """Without kernels the loss is whatever lay in memory."""
        with mock.patch.object(math, "isfinite", return_value=True), np.errstate(all="ignore"):
            yield

    layers, shape = workloads.NETWORKS[arguments.network]
    rows = []
    print(f"{arguments.network}, microseconds per call")
    for what, batch in CASES:
        engine = Minitl(layers, shape, workloads.weights(layers, shape), *workloads.data(shape, batch))
        if what == "frozen step":
            freeze(engine.model, [layer.name for layer in engine.model.layers[:-1]])
        call = engine.infer if what == "infer" else engine.step
        total, kernels, adam = measure(call, launch._launch)
        row = {"what": what, "batch": batch, "total": total, "kernels": kernels, "adam": adam, "calls": len(spent["launches"])}
        print(
            f"  {what + ', batch ' + str(batch):<24}{total:8.0f}: {kernels:7.0f} in {row['calls']} calls,"
            f"{adam:4.0f} Adam,{total - kernels - adam:5.0f} Python and the rest; "
            f"kernels and Adam {(kernels + adam) / batch:.1f} per image"
        )
        if what != "infer":
            with anything_goes():
                row["alone"], row["without caches"] = (
                    total - kernels - adam
                    for total, kernels, adam in (measure(call, run) for run in (lambda *_: None, lambda *_: something.fill(0)))
                )
            print(f"{'':34}Python alone {row['alone']:.0f}, and {row['without caches']:.0f} where every launch fills 2 MB")
        rows.append(row)
    harness.save("overhead", rows)
