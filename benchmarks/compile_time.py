"""Seconds from the start of a new process to the end of the first training step of the classic network, import included.

    python benchmarks/compile_time.py [REVISION] [--rounds 5]

Cold: with an empty compile cache. Warm: with the cache that a cold run left. Also what `import minitl` costs on top of
`import numpy`. With a revision, the same of that commit, in turn, and this tree over it. Python's own byte code is there, as it
is for an installed package.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
import numpy as np

STEP = """
import time
started = time.perf_counter()
import sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/benchmarks"]
import workloads
from engines import Minitl
layers, shape = workloads.NETWORKS["classic"]
engine = Minitl(layers, shape, workloads.weights(layers, shape), *workloads.data(shape, 32))
engine.step()
print(time.perf_counter() - started)
"""
IMPORT = """
import sys, time
sys.path.insert(0, sys.argv[1])
import numpy
started = time.perf_counter()
import minitl
print(time.perf_counter() - started)
"""
TITLES = {"cold": "first step, nothing cached", "warm": "first step, cache warm", "import": "import minitl after numpy"}
BYTE_CODE = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
GOALS = {"cold": 12, "warm": 1.0, "import": 0.3}


def seconds(program: str, tree: Path, cache: Path) -> float:
    """Run a program in a new process; what it prints."""
    environment = {name: value for name, value in os.environ.items() if name not in BYTE_CODE}
    environment |= {"NUMBA_CACHE_DIR": str(cache), "MINITL_QUIET": "1"}
    result = subprocess.run(
        [sys.executable, "-c", program, str(tree)], env=environment, capture_output=True, text=True, check=True, cwd=cache
    )
    return float(result.stdout)


def measure(tree: Path) -> dict[str, float]:
    """One round of a tree, with a cache of its own."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        seconds(IMPORT, tree, cache)  # writes the byte code
        return {name: seconds(IMPORT if name == "import" else STEP, tree, cache) for name in TITLES}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    harness.prepare()
    with tempfile.TemporaryDirectory() as folder:
        trees = {"this tree": harness.ROOT}
        if arguments.revision:
            trees[arguments.revision] = harness.check_out(arguments.revision, folder)
        rounds = [[measure(tree) for tree in trees.values()] for _ in range(arguments.rounds)]
    rows = [{name: [found[name] for found in of_tree] for name in TITLES} for of_tree in zip(*rounds, strict=True)]
    for name, title in TITLES.items():
        medians = [float(np.median(row[name])) for row in rows]
        line = f"{title:28} {medians[0]:7.3f} s   goal {GOALS[name]:4}"
        if arguments.revision:
            line += f"   {arguments.revision} {medians[1]:7.3f} s   ratio {medians[0] / medians[1]:.2f}"
        print(line)
    harness.save("compile_time", [{"tree": tree, **row} for tree, row in zip(trees, rows, strict=True)])
