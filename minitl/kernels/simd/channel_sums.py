"""Sums over the rows of a matrix, channel by channel, in registers: what batch normalisation needs of its inputs and gradients.

Row after row is added, in order, to vectors of channels that never leave their registers: some vectors side by side, or each
addition would wait for the one before it. Compiled from loops they would be loaded and stored for every row, behind a check of
what overlaps with what.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.processor import VECTOR_BYTES
from minitl.kernels.simd.moving import fetch
from minitl.kernels.simd.vectors import INT, broadcast, pointer

AHEAD = 16  # rows that are brought nearer before they are needed: they are too far apart for the processor to see it
SIDE_BY_SIDE = 4  # sums of vectors, with what they need beside them in the registers


def _moments_in_numpy(rows, first, last, channels, begin, end, sums, squares, at):
    """What `moments` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    c = np.arange(begin, end)
    for n in range(first, last):
        sums[at + c] += rows[n * channels + c]
    mean = sums[at + c] / sums.dtype.type(last - first)
    for n in range(first, last):
        squares[at + c] += (rows[n * channels + c] - mean) ** 2


@intrinsic
def _moments_in_llvm(typingctx, rows, first, last, channels, begin, end, sums, squares, at):
    """For the channels [begin, end) (whole vectors) of rows [first, last): their sum, added to sums[at + c], and the sum of the
    squares of their distances from the mean, added to squares[at + c].
    """
    intp = types.intp

    def codegen(context, builder, sig, args):
        rows, first, last, channels, begin, end, sums, squares, at = args
        rows, sums, squares = (pointer(context, builder, sig.args[k], a) for k, a in ((0, rows), (6, sums), (7, squares)))
        vectors, ahead = _Vectors(context, builder, sig.args[0]), builder.mul(channels, INT(AHEAD))

        def of_vectors(channel):
            def add(n, kept):
                return [builder.fadd(total, x) for total, x in zip(kept, of_row(n), strict=True)]

            def add_square(n, kept):
                away = [builder.fsub(x, mean) for x, mean in zip(of_row(n), means, strict=True)]
                return [builder.fadd(total, builder.fmul(d, d)) for total, d in zip(kept, away, strict=True)]

            def of_row(n):
                return [vectors.load_and_fetch(rows, builder.add(builder.mul(n, channels), c), ahead) for c in channel]

            totals = vectors.over_rows(first, last, sums, [builder.add(at, c) for c in channel], add)
            count = broadcast(builder, builder.sitofp(builder.sub(last, first), vectors.vector.element), vectors.vector)
            means = [builder.fdiv(total, count) for total in totals]
            vectors.over_rows(first, last, squares, [builder.add(at, c) for c in channel], add_square)

        vectors.over_channels(begin, end, SIDE_BY_SIDE, of_vectors)
        return context.get_dummy_value()

    return types.void(rows, intp, intp, intp, intp, intp, sums, squares, intp), codegen


def _products_in_numpy(
    dy, x, constants, size, relu, ceiling, mean, r, first, last, channels, begin, end, sums, of_dy, of_products
):
    """What `products` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    c = np.arange(begin, end)
    for n in range(first, last):
        at = n * channels + c
        z = (x[at] - constants[c]) * constants[size + c] + constants[2 * size + c] if relu else x[at]
        passes = ~np.bool_(relu) | ((z > 0) & ~((ceiling > 0) & (z >= ceiling)))
        g = np.where(passes, dy[at], dy.dtype.type(0))
        sums[of_dy + c] += g
        sums[of_products + c] += g * (x[at] - mean[c]) * r[c]


@intrinsic
def _products_in_llvm(
    typingctx, dy, x, constants, size, relu, ceiling, mean, r, first, last, channels, begin, end, sums, of_dy, of_products
):
    """For the channels [begin, end) of rows [first, last): the sums of g, added to sums[of_dy + c], and of g x_hat, added to
    sums[of_products + c]. g is dy, and in front of a ReLU only where z is above zero and below the ceiling, if there is one; z is
    (x - constants[c]) constants[size + c] + constants[2 size + c], and x_hat is (x - mean[c]) r[c].
    """
    intp = types.intp

    def codegen(context, builder, sig, args):
        dy, x, constants, size, relu, ceiling, mean, r, first, last, channels, begin, end, sums, of_dy, of_products = args
        given = (0, dy), (1, x), (2, constants), (6, mean), (7, r), (13, sums)
        dy, x, constants, mean, r, sums = (pointer(context, builder, sig.args[k], a) for k, a in given)
        vectors, ahead = _Vectors(context, builder, sig.args[0]), builder.mul(channels, INT(AHEAD))
        scalar = vectors.vector.element
        nothing = ir.Constant(vectors.vector, [0.0] * vectors.vector.count)
        top = broadcast(builder, builder.sitofp(ceiling, scalar), vectors.vector)
        masked, bounded = builder.icmp_signed("!=", relu, INT(0)), builder.icmp_signed(">", ceiling, INT(0))

        def of_vectors(channel):
            means, factors = [vectors.load(mean, c) for c in channel], [vectors.load(r, c) for c in channel]
            places = [builder.add(of, c) for c in channel for of in (of_dy, of_products)]

            def add_row(before_relu):
                places_of = ([builder.add(builder.mul(size, INT(k)), c) for c in channel] for k in range(3))
                of_z = [[vectors.load(constants, place) for place in places] for places in places_of] if before_relu else None

                def step(n, kept):
                    totals = []
                    for k, (c, of_mean, factor) in enumerate(zip(channel, means, factors, strict=True)):
                        at = builder.add(builder.mul(n, channels), c)
                        g, here = (vectors.load_and_fetch(array, at, ahead) for array in (dy, x))
                        if of_z is not None:
                            g = passed(g, builder.fadd(builder.fmul(builder.fsub(here, of_z[0][k]), of_z[1][k]), of_z[2][k]))
                        product = builder.fmul(builder.fmul(g, builder.fsub(here, of_mean)), factor)
                        totals += [builder.fadd(kept[len(totals)], g), builder.fadd(kept[len(totals) + 1], product)]
                    return totals

                vectors.over_rows(first, last, sums, places, step)

            with builder.if_else(masked) as (with_relu, without):
                with with_relu:
                    add_row(True)
                with without:
                    add_row(False)

        def passed(g, out):
            low = builder.fcmp_ordered("<=", out, nothing)
            high = builder.and_(builder.fcmp_ordered(">=", out, top), _everywhere(builder, bounded, vectors.vector.count))
            nan = builder.fcmp_unordered("uno", out, out)
            return builder.select(builder.or_(builder.or_(low, high), nan), nothing, g)

        vectors.over_channels(begin, end, SIDE_BY_SIDE // 2, of_vectors)  # two sums of each
        return context.get_dummy_value()

    kinds = [dy, x, constants, intp, intp, intp, mean, r, intp, intp, intp, intp, intp, sums, intp, intp]
    return types.void(*kinds), codegen


moments: Any = _moments_in_numpy if config.DISABLE_JIT else _moments_in_llvm
products: Any = _products_in_numpy if config.DISABLE_JIT else _products_in_llvm


class _Vectors:
    """Inside an intrinsic: loops over vectors of channels and over rows, with what is kept in registers."""

    def __init__(self, context: Any, builder: ir.IRBuilder, kind: Any):
        self.builder, self.size = builder, kind.dtype.bitwidth // 8
        self.vector = ir.VectorType(context.get_value_type(kind.dtype), VECTOR_BYTES // self.size)

    def load(self, array: Any, index: Any) -> Any:
        """A vector."""
        return self.builder.load(self._place(array, index), align=self.size)

    def load_and_fetch(self, array: Any, index: Any, ahead: Any) -> Any:
        """A vector; and one that will be needed later, so many numbers ahead, is brought nearer: it may not be there."""
        fetch(self.builder, self._place(array, self.builder.add(index, ahead)))
        return self.load(array, index)

    def store(self, value: Any, array: Any, index: Any) -> None:
        """Write a vector."""
        self.builder.store(value, self._place(array, index), align=self.size)

    def over_channels(self, begin: Any, end: Any, beside: int, body: Callable[[list[Any]], None]) -> None:
        """body(where vectors begin) for so many of them at a time, and for each that is left."""
        width, lanes = INT(beside * self.vector.count), INT(self.vector.count)
        last = self.builder.sub(end, self.builder.srem(self.builder.sub(end, begin), width))
        with cgutils.for_range_slice(self.builder, begin, last, width, INT) as (c, _):
            body([self.builder.add(c, INT(k * self.vector.count)) for k in range(beside)])
        with cgutils.for_range_slice(self.builder, last, end, lanes, INT) as (c, _):
            body([c])

    def over_rows(
        self, first: Any, last: Any, sums: Any, places: list[Any], body: Callable[[Any, list[Any]], list[Any]]
    ) -> list[Any]:
        """totals = body(n, totals) for every row, beginning with what is at these places of `sums`, where they go in the end."""
        builder = self.builder
        slots = [cgutils.alloca_once(builder, self.vector) for _ in places]
        for slot, place in zip(slots, places, strict=True):
            builder.store(self.load(sums, place), slot)
        with cgutils.for_range_slice(builder, first, last, INT(1), INT) as (n, _):
            for slot, value in zip(slots, body(n, [builder.load(slot) for slot in slots]), strict=True):
                builder.store(value, slot)
        totals = [builder.load(slot) for slot in slots]
        for total, place in zip(totals, places, strict=True):
            self.store(total, sums, place)
        return totals

    def _place(self, array: Any, index: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(array, [index]), self.vector.as_pointer())


def _everywhere(builder: ir.IRBuilder, flag: Any, count: int) -> Any:
    """A vector of a flag."""
    return broadcast(builder, flag, ir.VectorType(ir.IntType(1), count))
