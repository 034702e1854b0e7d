"""A training step of the classic network while other programs keep the processor busy, beside PyTorch.

python benchmarks/busy.py [--loops 0 2 4] [--twins 1] [--batch 32] [--seconds 4]

With two threads on two cores and L competing loops, a fair share is 2 of 2 + L: a step should take (2 + L) / 2 times as long as
on an idle machine. Beside T other processes that train the same network with the same engine it should take 1 + T times as long.
Printed is the mean step, how many times that of the idle machine it takes, and this over the fair share.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import workloads
from engines import ENGINES

THREADS = 2
LOOP = [sys.executable, "-c", "print('begun', flush=True)\nwhile True: pass"]


def mean_step(step: Callable[[], object], seconds: float) -> float:
    """The mean over some seconds: what an epoch takes is a mean, in which being put aside counts."""
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        step()
        count += 1
    return (time.perf_counter() - started) / count


def train_for_ever(name: str, batch: int) -> None:
    """What a twin does; it says when it has begun."""
    engine = made(name, batch)
    print("begun", flush=True)
    while True:
        engine.step()


def made(name: str, batch: int) -> Any:
    """An engine with the classic network, past its first steps."""
    if name.startswith("torch"):
        import torch

        torch.set_num_threads(THREADS)
    layers, shape = workloads.NETWORKS["classic"]
    engine = ENGINES[name](layers, shape, workloads.weights(layers, shape), *workloads.data(shape, batch))
    for _ in range(5):
        engine.step()
    return engine


def main(arguments: argparse.Namespace) -> None:
    """Print both engines' times, idle, beside loops and beside twins."""
    engines = {name: made(name, arguments.batch) for name in ("minitl", "torch channels_last")}
    idle: dict[str, float] = {}
    for kind, count in [("loops", n) for n in arguments.loops] + [("twins", n) for n in arguments.twins]:
        for name, engine in engines.items():
            twin = [sys.executable, __file__, "--batch", str(arguments.batch), "--twin", name]
            others = [
                subprocess.Popen(twin if kind == "twins" else LOOP, stdout=subprocess.PIPE, text=True) for _ in range(count)
            ]
            try:
                for other in others:
                    assert other.stdout is not None
                    other.stdout.readline()
                took = mean_step(engine.step, arguments.seconds)
            finally:
                for other in others:
                    other.kill()
                    other.communicate()
            idle.setdefault(name, took)
            times = took / idle[name]
            fair = times / (1 + count if kind == "twins" else (THREADS + count) / THREADS)
            print(f"{count} {kind}  {name:20}  {1e3 * took:8.2f} ms  {times:6.2f} times idle  {fair:5.2f} times fair", flush=True)
    print(f"{os.cpu_count()} cores")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", nargs="*", type=int, default=[0, 2, 4], help="the first 0 is the idle machine")
    parser.add_argument("--twins", nargs="*", type=int, default=[1])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--twin", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.twin:
        train_for_ever(options.twin, options.batch)
    main(options)
