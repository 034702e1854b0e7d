"""Peak memory of a training process, and page faults of a step, on the classic network at batch 128.

python benchmarks/memory.py [--batch 128] [--steps 30]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource

import harness
import workloads
from engines import ENGINES

NAMES = ("minitl", "torch NCHW", "torch channels_last")


def train(name: str, batch: int, steps: int, pipe) -> None:
    """Train in this process, and report its peak in MiB, and page faults a step after the first ones."""
    layers, shape = workloads.NETWORKS["classic"]
    engine = ENGINES[name](layers, shape, workloads.weights(layers, shape), *workloads.data(shape, batch))
    for _ in range(5):
        engine.step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        engine.step()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pipe.send((usage.ru_maxrss / 1024, (usage.ru_minflt - before) / steps))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args()
    harness.prepare()
    context = multiprocessing.get_context("spawn")
    rows = []
    for name in NAMES:
        here, there = context.Pipe()
        process = context.Process(target=train, args=(name, arguments.batch, arguments.steps, there))
        process.start()
        peak, faults = here.recv()
        process.join()
        rows.append({"name": name, "peak MiB": peak, "page faults a step": faults})
        print(f"{name:<22} peak {peak:7.0f} MiB   {faults:8.1f} page faults a step")
    ours, best = rows[0]["peak MiB"], min(row["peak MiB"] for row in rows[1:])
    print(f"ours / best PyTorch {ours / best:.2f}")
    harness.save("memory", rows)
