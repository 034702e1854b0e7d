"""This tree against an earlier commit: training steps and inference of several networks.

python benchmarks/revisions.py REVISION [--rounds 9] [--networks classic lenet]

Each tree runs in a process of its own, woken in turn. Printed are medians, and the median, smallest and largest ratio over
rounds; above 1 this tree is slower. A revision from before the graph has the networks of layers in a chain alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

# network, batch, what is timed, and how many calls a round has
JOBS = [
    ("classic", 32, "step", 30), ("classic", 128, "step", 8), ("classic", 1, "infer", 1200), ("classic", 32, "infer", 120),
    ("classic", 128, "infer", 32), ("lenet", 64, "step", 40), ("mlp", 128, "step", 15), ("vgg", 64, "step", 1),
    ("ResNet50", 1, "infer", 20), ("ResNet50", 16, "infer", 1), ("MobileNetV2", 1, "infer", 80), ("VGG16", 1, "infer", 8),
]  # fmt: skip
PROGRAM = """
import functools, json, sys, time
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/benchmarks"]
import workloads
import numpy as np
from engines import Minitl
jobs = []
for network, batch, kind, calls in json.loads(sys.argv[2]):
    if network not in workloads.NETWORKS:
        from minitl import applications
        images = np.random.default_rng(0).random((batch, 224, 224, 3), dtype=np.float32)
        jobs.append((functools.partial(getattr(applications, network)(weights=None).predict_on_batch, images), calls))
        continue
    layers, shape = workloads.NETWORKS[network]
    engine = Minitl(layers, shape, workloads.weights(layers, shape), *workloads.data(shape, batch))
    jobs.append((getattr(engine, kind), calls))
for call, _ in jobs:
    for _ in range(3):
        call()
print("ready", flush=True)
for _ in sys.stdin:
    times = []
    for call, calls in jobs:
        for _ in range(3):  # a step that comes again is recorded
            call()
        started = time.perf_counter()
        for _ in range(calls):
            call()
        times.append((time.perf_counter() - started) / calls)
    print(json.dumps(times), flush=True)
"""


def worker(tree: str | Path, jobs: list[tuple[str, int, str, int]]) -> subprocess.Popen[str]:
    """A process that measures one tree each time that it gets a line."""
    command = [sys.executable, "-c", PROGRAM, str(tree), json.dumps(jobs)]
    environment = {**os.environ, "MINITL_QUIET": "1"}  # what is printed are numbers
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(process: subprocess.Popen[str]) -> list[float]:
    """Seconds per call of every job."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return [float(seconds) for seconds in json.loads(process.stdout.readline())]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision")
    parser.add_argument("--rounds", type=int, default=9)
    names = list(dict.fromkeys(job[0] for job in JOBS))
    parser.add_argument("--networks", nargs="+", default=names, choices=names)
    arguments = parser.parse_args()
    jobs = [job for job in JOBS if job[0] in arguments.networks]
    with tempfile.TemporaryDirectory() as folder:
        processes = [worker(tree, jobs) for tree in (harness.check_out(arguments.revision, folder), harness.ROOT)]
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        found: list[list[list[float]]] = [[], []]
        for number in range(arguments.rounds):
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                found[side].append(ask(processes[side]))
        for process in processes:
            process.kill()
            process.wait()
    for place, (network, batch, kind, _) in enumerate(jobs):
        before, now = ([times[place] for times in side] for side in found)
        ratios = [b / a for a, b in zip(before, now, strict=True)]
        print(
            f"{network:11} {kind:5} {batch:4}  "
            f"{1e6 * statistics.median(before):9.1f} us  {1e6 * statistics.median(now):9.1f} us  "
            f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} .. {max(ratios):.3f})  "
            f"shortest / shortest {min(now) / min(before):.3f}"
        )
