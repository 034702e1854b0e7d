"""The classic network's training step by threads and by batch, and convolutions by channels.

python benchmarks/scaling.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import time

import harness

PICTURES = 1024

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    harness.prepare()

    import numba
    import numpy as np
    import workloads
    from engines import Minitl

    def times(engines: dict) -> dict[str, float]:
        """Median seconds per step of each, in turn, every time over the same number of images."""
        kept: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(arguments.rounds):
            for name, (engine, threads) in engines.items():
                numba.set_num_threads(threads)
                calls = max(1, PICTURES // len(engine.x))
                engine.step()
                started = time.perf_counter()
                for _ in range(calls):
                    engine.step()
                kept[name].append((time.perf_counter() - started) / calls)
        return {name: float(np.median(values)) for name, values in kept.items()}

    def classic(batch: int) -> Minitl:
        """The classic network with a batch of its own."""
        layers, shape = workloads.NETWORKS["classic"]
        return Minitl(layers, shape, workloads.weights(layers, shape), *workloads.data(shape, batch))

    rows = []
    engine = classic(128)
    result = times({"1 thread": (engine, 1), "2 threads": (engine, 2)})
    print(f"two threads are {result['1 thread'] / result['2 threads']:.2f} times as fast as one (batch 128)")
    rows.append({"threads": result})

    batches = (32, 64, 128, 256, 512, 1024)
    result = times({str(batch): (classic(batch), 2) for batch in batches})
    a_picture = {batch: result[str(batch)] / batch * 1e6 for batch in batches}
    print("microseconds per picture by batch: " + ", ".join(f"{batch}: {value:.0f}" for batch, value in a_picture.items()))
    print(f"largest over smallest {max(a_picture.values()) / min(a_picture.values()):.2f}")
    rows.append({"batches": a_picture})

    engines = {}
    for channels in (8, 16, 24, 32, 48, 64, 96, 128, 256):
        convolution = ("conv", channels, 3, 1, "same", "relu")
        layers, shape = [convolution, convolution, ("gap",), ("dense", 10, None)], (16, 16, channels)
        engines[str(channels)] = (Minitl(layers, shape, workloads.weights(layers, shape), *workloads.data(shape, 32)), 2)
    result = times(engines)
    rates = {int(c): 2 * 32 * 5 * 256 * 9 * int(c) ** 2 / seconds / 1e9 for c, seconds in result.items()}
    print("GFLOP/s of two 3x3 convolutions by channels: " + ", ".join(f"{c}: {rate:.0f}" for c, rate in rates.items()))
    rows.append({"channels": rates})
    harness.save("scaling", rows)
