"""How near the register tile and what is built from it come to the processor's peak.

    python benchmarks/tile.py [--rounds 15]

The peak is the best rate at which a tile multiplies and adds when it reads the same row of numbers again and again, all
threads together; the rest is shown as a share of it, in the same run. Operations are counted as the definition has them,
so that Winograd's convolution, which needs 16 multiplications for 36, or 9 with large tiles, can be above the peak; the
definition itself is measured beside it, and the rounding errors of all three.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from unittest import mock

import harness

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    harness.prepare()

    import numpy as np
    import torch
    import workloads
    from engines import Minitl
    from numba import get_num_threads, njit, prange

    from minitl.kernels import conv2d, processor, simd, winograd
    from minitl.ops import conv2d as book

    lanes = processor.VECTOR_BYTES // 4
    simd.ready(np.dtype(np.float32))

    @njit(parallel=True)
    def tiles(rows, columns, depth, repeat, threads):
        """One small product again and again in every thread."""
        for _ in prange(threads):
            a, b, c = np.ones(rows, np.float32), np.ones(columns, np.float32), np.zeros(rows * columns, np.float32)
            a_rows, c_rows = np.arange(rows), np.arange(rows) * columns
            for _repeat in range(repeat):
                counters = ((1, 0, 0), (1, 0, 0), (depth, 0, 0))
                simd.product(a, 0, a_rows, 0, b, 0, counters, c, 0, 0, c, 0, c_rows, 0, rows, columns, np.float32(0))

    def best(call: Callable[[], object], operations: float) -> float:
        """GFLOP/s of the fastest of some rounds."""
        call()
        times = []
        for _ in range(arguments.rounds):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        return operations / min(times) / 1e9

    def error(result: np.ndarray, exact: np.ndarray) -> float:
        """Root mean square of the difference, relative to the exact result's."""
        return float(np.sqrt(np.mean((result - exact) ** 2) / np.mean(exact**2)))

    def torch_passes(x: np.ndarray, kernel: np.ndarray, dy: np.ndarray) -> dict[str, np.ndarray]:
        """PyTorch's y, dkernel and dx."""
        images, weights = (torch.tensor(a, requires_grad=True) for a in (x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1)))
        y = torch.nn.functional.conv2d(images, weights)
        y.backward(torch.tensor(dy.transpose(0, 3, 1, 2)))
        found = {"y": (y, (0, 2, 3, 1)), "dkernel": (weights.grad, (2, 3, 1, 0)), "dx": (images.grad, (0, 2, 3, 1))}
        return {name: tensor.detach().numpy().transpose(axes) for name, (tensor, axes) in found.items()}

    threads = get_num_threads()
    rates = {}
    for vectors in sorted({1, 2, processor.VECTORS}):
        for rows in (1, 2, 4, processor.ROWS, *([2 * processor.ROWS] if vectors < processor.VECTORS else [])):
            columns, depth, repeat = vectors * lanes, 4096, 100
            operations = 2 * rows * columns * depth * repeat * threads
            rates[f"tile {rows} x {vectors}"] = best(lambda r=rows, c=columns: tiles(r, c, 4096, 100, threads), operations)
    peak = max(rates.values())
    generator = np.random.default_rng(0)
    x = generator.standard_normal((64, 16, 16, 64), dtype=np.float32)
    kernel = generator.standard_normal((3, 3, 64, 64), dtype=np.float32)
    y, cache = conv2d.forward(x, kernel)
    work = 2 * y.size * 9 * 64
    passes = {
        "y": lambda: conv2d.forward(x, kernel)[0],
        "dkernel": lambda: conv2d.backward(y, cache, need_dx=False)[1],
        "dx": lambda: conv2d.backward(y, cache, need_dparameters=False)[0],
    }
    exact_y, exact_cache = book.forward(x.astype(np.float64), kernel.astype(np.float64))
    exact_dx, exact_dkernel, _ = book.backward(y.astype(np.float64), exact_cache)
    exact = {"y": exact_y, "dkernel": exact_dkernel, "dx": exact_dx}
    errors = {"PyTorch": {name: error(result, exact[name]) for name, result in torch_passes(x, kernel, y).items()}}
    tiles_of = sys.modules[winograd.plan.__module__]
    for way, edge in (("Winograd, tiles of 4x4", 4), ("Winograd, tiles of 2x2", 2), ("definition", 0)):
        used = mock.patch.object(winograd, "suits", return_value=edge > 0)
        with (
            used,
            mock.patch.object(tiles_of, "tile_edge", return_value=edge),
            mock.patch.object(winograd, "tile_edge", return_value=edge),
        ):
            winograd.plan.cache_clear()
            for name, call in passes.items():
                rates[f"convolution 16x16x64 -> 64, {way}: {name}"] = best(call, work)
            errors[way] = {name: error(call(), exact[name]) for name, call in passes.items()}
    winograd.plan.cache_clear()
    for batch in (32, 128):
        layers, shape = workloads.NETWORKS["classic"]
        engine = Minitl(layers, shape, workloads.weights(layers, shape), *workloads.data(shape, batch))
        # Multiply-adds of the convolutions and dense layers; backward twice that, but no dx in the first layer.
        forward = [30**2 * 27 * 32, 13**2 * 288 * 64, 4**2 * 576 * 128, 512 * 128, 128 * 10]
        rates[f"classic network, training step, batch {batch}"] = best(engine.step, 2 * batch * (3 * sum(forward) - forward[0]))
    print(f"{threads} threads, vectors of {lanes} float32, largest tile {processor.ROWS} x {processor.VECTORS}\n")
    for name, rate in rates.items():
        print(f"{name:<60}{rate:8.0f} GFLOP/s{100 * rate / peak:8.0f} % of the peak")
    print("\nerror of the convolution in float32, root mean square, relative to the result in float64")
    for name, of_pass in errors.items():
        print(f"{name:<45}" + "".join(f"   {which} {value:.1e}" for which, value in of_pass.items()))
    harness.save("tile", [{"rates": rates, "peak": peak, "errors": errors}])
