"""A training step of the classic network while other programs keep the processor busy, beside PyTorch.

python benchmarks/busy.py [--loops 0 2 4] [--batch 32] [--seconds 4]

With two threads on two cores and L competing loops, a fair share is 2 of 2 + L: a step should take (2 + L) / 2 times as long as
on an idle machine. Printed is the mean step, how many times that of the idle machine it takes, and this over the fair share.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

import workloads
from engines import ENGINES

THREADS = 2


def mean_step(step: Callable[[], object], seconds: float) -> float:
    """The mean over some seconds: what an epoch takes is a mean, in which being put aside counts."""
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        step()
        count += 1
    return (time.perf_counter() - started) / count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", nargs="+", type=int, default=[0, 2, 4])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(THREADS)
    layers, shape = workloads.NETWORKS["classic"]
    data = workloads.weights(layers, shape), *workloads.data(shape, arguments.batch)
    engines = {name: ENGINES[name](layers, shape, *data) for name in ("minitl", "torch channels_last")}
    for engine in engines.values():
        for _ in range(5):
            engine.step()
    idle: dict[str, float] = {}
    for loops in arguments.loops:
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
        try:
            for name, engine in engines.items():
                took = mean_step(engine.step, arguments.seconds)
                idle.setdefault(name, took)
                times = took / idle[name]
                fair = times / ((THREADS + loops) / THREADS)
                print(f"{loops} loops  {name:20}  {1e3 * took:8.2f} ms  {times:6.2f} times idle  {fair:5.2f} times fair")
        finally:
            for other in others:
                other.kill()
                other.wait()
    print(f"{os.cpu_count()} cores")
