"""What is known of the processor, in one place: vectors, registers, caches, and thresholds that were measured with them.

Everything here decides how work is cut and in which form it is done, never a result's order of sums by the number of threads.
"""

from __future__ import annotations

import os

import llvmlite.binding

from minitl.kernels.jit import config
from minitl.processes import neighbours


def _host_vectors() -> tuple[int, int, int]:
    """Bytes of a vector, and the largest register tile (rows, vectors), for the processor that Numba compiles for."""
    if config.CPU_FEATURES is not None:
        features = set(config.CPU_FEATURES.split(","))
    else:
        features = {"+" + name for name, there in llvmlite.binding.get_host_cpu_features().items() if there}
    if "+avx512f" in features:
        return 64, 6, 4
    if "+avx2" in features or "+avx" in features:
        return 32, 6, 2
    return 16, 6, 4 if "+neon" in features else 2


VECTOR_BYTES, ROWS, VECTORS = _host_vectors()
# That share a launch; processes that train together share the cores.
THREADS: int = config.NUMBA_NUM_THREADS if "NUMBA_NUM_THREADS" in os.environ else max(1, config.NUMBA_NUM_THREADS // neighbours())
IS_X86 = llvmlite.binding.get_process_triple().startswith(("x86_64", "i686", "amd64"))
IS_WINDOWS = os.name == "nt"
CACHE_LINE = 64  # bytes
PAGE = 4096  # bytes; the processor fetches ahead within one, and rows nearer to each other need no panel
LEVEL_1 = 1 << 15  # bytes that stay in a core's level-1 cache beside what they are multiplied by
HALF_OF_LEVEL_1 = 1 << 14  # bytes that stay there beside another block of that size
LEVEL_2 = 1 << 18  # bytes that stay in a core's level-2 cache beside everything else
NEAR = 1 << 24  # bytes that are still in one of the caches when the next layer reads what a layer wrote
TASKS = 16  # enough pieces of work to share evenly, few enough to cost nothing
ELEMENTS_PER_TASK = 1 << 14  # numbers that one task of an element-wise kernel takes
