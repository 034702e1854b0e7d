"""2x2 max-pooling behind ReLU: the maximum of four pixels and which it was, and its gradient back to that one."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.simd.vectors import INT, VECTOR_BYTES, pointer

NOBODY = 4  # the winner of a window in which nothing is above zero


def _best_of_four_in_numpy(source, at, row, column, best, to, winner, to_winner, count):
    """What `best_of_four` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    window = source[at + np.array([0, column, row, row + column])[:, None] + np.arange(count)]
    where = np.argmax(window, axis=0)  # the first of equal ones, a NaN before all
    largest = window[where, np.arange(count)]
    best[to : to + count] = largest
    if winner is not None:
        winner[to_winner : to_winner + count] = np.where(largest > 0, where, NOBODY)


@intrinsic
def _best_of_four_in_llvm(typingctx, source, at, row, column, best, to, winner, to_winner, count):
    """The largest of source[at], [at + column], [at + row] and [at + row + column], for `count` neighbours of each.

    `count` is a multiple of the vector's length. winner is 0 to 3 in that order, NOBODY where none is above zero; it may be
    None.
    """
    intp = types.intp
    size = source.dtype.bitwidth // 8
    lanes = VECTOR_BYTES // size

    def codegen(context, builder, sig, args):
        _, at, row, column, _, to, _, to_winner, count = args
        scalar = context.get_value_type(source.dtype)
        vector, small = ir.VectorType(scalar, lanes), ir.VectorType(ir.IntType(8), lanes)
        keep = winner is not types.none
        data = {k: pointer(context, builder, sig.args[k], args[k]) for k in ((0, 4, 6) if keep else (0, 4))}

        def place(k, index, kind):
            return builder.bitcast(builder.gep(data[k], [index]), kind.as_pointer())

        with cgutils.for_range_slice(builder, INT(0), count, INT(lanes), INT) as (v, _):
            begin = builder.add(at, v)
            below = builder.add(begin, row)
            starts = [begin, builder.add(begin, column), below, builder.add(below, column)]
            pixels = [builder.load(place(0, start, vector), align=size) for start in starts]
            largest, which = pixels[0], ir.Constant(small, [0] * lanes)
            for k in (1, 2, 3):
                greater = builder.fcmp_ordered(">", pixels[k], largest)
                wins = builder.or_(greater, builder.fcmp_unordered("uno", pixels[k], pixels[k]))
                largest = builder.select(wins, pixels[k], largest)
                which = builder.select(wins, ir.Constant(small, [k] * lanes), which)
            above = builder.fcmp_ordered(">", largest, ir.Constant(vector, [0.0] * lanes))
            which = builder.select(above, which, ir.Constant(small, [NOBODY] * lanes))
            builder.store(largest, place(4, builder.add(to, v), vector), align=size)
            if keep:
                builder.store(which, place(6, builder.add(to_winner, v), small), align=1)
        return context.get_dummy_value()

    return types.void(source, intp, intp, intp, best, intp, winner, intp, intp), codegen


best_of_four = _best_of_four_in_numpy if config.DISABLE_JIT else _best_of_four_in_llvm


def _one_of_four_in_numpy(dy, at, winner, in_winner, target, to, row, column, count):
    """What `one_of_four` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    won = winner[in_winner : in_winner + count]
    for k, start in enumerate((to, to + column, to + row, to + row + column)):
        target[start : start + count] = np.where(won == k, dy[at : at + count], 0)


@intrinsic
def _one_of_four_in_llvm(typingctx, dy, at, winner, in_winner, target, to, row, column, count):
    """Give `count` gradients to the winners of their windows, and zero to the other three pixels; layout as above."""
    intp = types.intp
    size = dy.dtype.bitwidth // 8
    lanes = VECTOR_BYTES // size

    def codegen(context, builder, sig, args):
        _, at, _, in_winner, _, to, row, column, count = args
        vector, small = ir.VectorType(context.get_value_type(dy.dtype), lanes), ir.VectorType(ir.IntType(8), lanes)
        data = {k: pointer(context, builder, sig.args[k], args[k]) for k in (0, 2, 4)}

        def place(k, index, kind):
            return builder.bitcast(builder.gep(data[k], [index]), kind.as_pointer())

        with cgutils.for_range_slice(builder, INT(0), count, INT(lanes), INT) as (v, _):
            gradients = builder.load(place(0, builder.add(at, v), vector), align=size)
            won = builder.load(place(2, builder.add(in_winner, v), small), align=1)
            begin = builder.add(to, v)
            below = builder.add(begin, row)
            for k, start in enumerate([begin, builder.add(begin, column), below, builder.add(below, column)]):
                mine = builder.icmp_unsigned("==", won, ir.Constant(small, [k] * lanes))
                value = builder.select(mine, gradients, ir.Constant(vector, [0.0] * lanes))
                builder.store(value, place(4, start, vector), align=size)
        return context.get_dummy_value()

    return types.void(dy, intp, winner, intp, target, intp, intp, intp, intp), codegen


one_of_four = _one_of_four_in_numpy if config.DISABLE_JIT else _one_of_four_in_llvm
