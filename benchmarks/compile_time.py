"""Seconds from the start of a new process to the end of the first training step of the classic network, import included.

    python benchmarks/compile_time.py [--rounds 5]

Cold: with an empty compile cache. Warm: with the cache that the cold run left. Also what `import minitl` costs on top of
`import numpy`.
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
sys.path.insert(0, {folder!r})
import workloads
from engines import Minitl
layers, shape = workloads.NETWORKS["classic"]
engine = Minitl(layers, shape, workloads.weights(layers, shape), *workloads.data(shape, 32))
engine.step()
print(time.perf_counter() - started)
"""
IMPORT = """
import time
import numpy
started = time.perf_counter()
import minitl
print(time.perf_counter() - started)
"""


def seconds(program: str, cache: str) -> float:
    """Run a program in a new process; what it prints."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return float(result.stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    harness.prepare()
    step = STEP.format(folder=str(Path(__file__).parent))
    with tempfile.TemporaryDirectory() as cache:
        rows = {"cold": [seconds(step, cache)]}
        rows["warm"] = [seconds(step, cache) for _ in range(arguments.rounds)]
        rows["import"] = [seconds(IMPORT, cache) for _ in range(arguments.rounds)]
    print(f"first step, nothing cached      {rows['cold'][0]:6.2f} s   goal 12")
    print(f"first step, cache warm          {np.median(rows['warm']):6.2f} s   goal 1.0")
    print(f"import minitl after numpy       {np.median(rows['import']):6.2f} s   goal 0.3")
    harness.save("compile_time", [rows])
