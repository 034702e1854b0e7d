"""Max-pooling: the largest of a window and which it was; of four pixels behind ReLU, and its gradient back to that one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.processor import VECTOR_BYTES
from minitl.kernels.simd.sandwich import combine, sandwich_in_numpy, stages
from minitl.kernels.simd.vectors import INT, broadcast, pointer

NOBODY = 4  # the winner of a window in which nothing is above zero


def best_of_four_in_numpy(source, at, row, column, best, to, winner, to_winner, count):
    """The largest of source[at], [at + column], [at + row] and [at + row + column], for `count` neighbours of each.

    winner is 0 to 3 in that order, NOBODY where none is above zero; it may be None.
    """
    window = source[at + np.array([0, column, row, row + column])[:, None] + np.arange(count)]
    where = np.argmax(window, axis=0)  # the first of equal ones, a NaN before all
    largest = window[where, np.arange(count)]
    best[to : to + count] = largest
    if winner is not None:
        winner[to_winner : to_winner + count] = np.where(largest > 0, where, NOBODY)


def _best_of_sandwich_in_numpy(matrix, source, at, row, column, best, to, winner, to_winner, count):
    """What `best_of_sandwich` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    pixels = np.empty(4 * count, source.dtype)
    sandwich_in_numpy(matrix, 0, source, at, row, column, pixels, 0, 2 * count, count, count, 0.0, False)
    best_of_four_in_numpy(pixels, 0, 2 * count, count, best, to, winner, to_winner, count)


@intrinsic(prefer_literal=True)
def _best_of_sandwich_in_llvm(typingctx, matrix, source, at, row, column, best, to, winner, to_winner, count):
    """The largest of the four entries of m d m^T and zero, for `count` matrices d, as `sandwich` makes them; and the winners.

    winner is 0 to 3, row by row, NOBODY where none is above zero; it may be None.
    """

    def codegen(context, builder, sig, args):
        _, _, at, row, column, _, to, _, to_winner, count = args
        read, write, note = (_Vectors(context, builder, sig.args[k], args[k]) for k in (1, 5, 7))
        with cgutils.for_range_slice(builder, INT(0), count, INT(read.lanes), INT) as (v, _):
            begin = builder.add(at, v)

            def entry(i, j):
                return read.load(builder.add(begin, builder.add(builder.mul(row, INT(i)), builder.mul(column, INT(j)))))

            upper, lower = combine(builder, stages(matrix.literal_value), entry)
            largest, which = pick(builder, [*upper, *lower])
            zero = ir.Constant(largest.type, [0.0] * read.lanes)
            largest = builder.select(builder.fcmp_ordered("<", largest, zero), zero, largest)
            write.store(largest, builder.add(to, v))
            note.store(which(), builder.add(to_winner, v))
        return context.get_dummy_value()

    intp = types.intp
    return types.void(matrix, source, intp, intp, intp, best, intp, winner, intp, intp), codegen


best_of_sandwich: Any = _best_of_sandwich_in_numpy if config.DISABLE_JIT else _best_of_sandwich_in_llvm


def _one_of_four_in_numpy(dy, at, winner, in_winner, target, to, row, column, count):
    """What `one_of_four` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    won = winner[in_winner : in_winner + count]
    for k, start in enumerate((to, to + column, to + row, to + row + column)):
        target[start : start + count] = np.where(won == k, dy[at : at + count], 0)


@intrinsic
def _one_of_four_in_llvm(typingctx, dy, at, winner, in_winner, target, to, row, column, count):
    """Give `count` gradients to the winners of their windows, and zero to the other three pixels.

    The four are target[to], [to + column], [to + row] and [to + row + column].
    """

    def codegen(context, builder, sig, args):
        _, at, _, in_winner, _, to, row, column, count = args
        read, noted, write = (_Vectors(context, builder, sig.args[k], args[k]) for k in (0, 2, 4))
        with cgutils.for_range_slice(builder, INT(0), count, INT(read.lanes), INT) as (v, _):
            gradients = read.load(builder.add(at, v))
            won = noted.load(builder.add(in_winner, v), read.lanes)
            begin = builder.add(to, v)
            below = builder.add(begin, row)
            for k, start in enumerate([begin, builder.add(begin, column), below, builder.add(below, column)]):
                mine = builder.icmp_unsigned("==", won, ir.Constant(won.type, [k] * read.lanes))
                write.store(builder.select(mine, gradients, ir.Constant(gradients.type, [0.0] * read.lanes)), start)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(dy, intp, winner, intp, target, intp, intp, intp, intp), codegen


one_of_four: Any = _one_of_four_in_numpy if config.DISABLE_JIT else _one_of_four_in_llvm


def _best_of_window_in_numpy(source, at, row, column, rows, columns, number, more, best, to, winner, count):
    """What `best_of_window` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    best[to : to + count], winner[to : to + count] = -np.inf, 0
    for a in range(rows):
        for b in range(columns):
            value = source[at + a * row + b * column :][:count]
            wins = (value > best[to : to + count]) | np.isnan(value)
            best[to : to + count][wins], winner[to : to + count][wins] = value[wins], number + a * more + b


@intrinsic
def _best_of_window_in_llvm(typingctx, source, at, row, column, rows, columns, number, more, best, to, winner, count):
    """The largest of source[at + a row + b column], a below `rows` and b below `columns`, for `count` neighbours of each.

    winner is number + a more + b of the first that is largest, of the last that is NaN, and 0 where all are -inf. There are
    enough neighbours for a vector; the last vector ends with them, and may take some that the one before it took.
    """

    def codegen(context, builder, sig, args):
        _, at, row, column, rows, columns, number, more, _, to, _, count = args
        read, write, note = (_Vectors(context, builder, sig.args[k], args[k]) for k in (0, 8, 10))
        lanes = INT(read.lanes)
        numbers, places = ir.VectorType(read.scalar, read.lanes), ir.VectorType(note.scalar, read.lanes)
        largest, which = cgutils.alloca_once(builder, numbers), cgutils.alloca_once(builder, places)
        last = builder.sub(count, lanes)
        with cgutils.for_range_slice(builder, INT(0), count, lanes, INT) as (start, _):
            v = builder.select(builder.icmp_signed("<", start, last), start, last)
            begin = builder.add(at, v)
            builder.store(ir.Constant(numbers, [float("-inf")] * read.lanes), largest)
            builder.store(ir.Constant(places, [0] * read.lanes), which)
            with cgutils.for_range(builder, rows) as down, cgutils.for_range(builder, columns) as across:
                offset = builder.add(builder.mul(down.index, row), builder.mul(across.index, column))
                value, before = read.load(builder.add(begin, offset)), builder.load(largest)
                wins = builder.or_(builder.fcmp_ordered(">", value, before), builder.fcmp_unordered("uno", value, value))
                place = builder.add(number, builder.add(builder.mul(down.index, more), across.index))
                mine = broadcast(builder, builder.trunc(place, note.scalar), places)
                builder.store(builder.select(wins, value, before), largest)
                builder.store(builder.select(wins, mine, builder.load(which)), which)
            write.store(builder.load(largest), builder.add(to, v))
            note.store(builder.load(which), builder.add(to, v))
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, intp, intp, intp, intp, intp, intp, intp, best, intp, winner, intp), codegen


best_of_window: Any = _best_of_window_in_numpy if config.DISABLE_JIT else _best_of_window_in_llvm


class _Vectors:
    """Inside an intrinsic: an argument's numbers, read and written in vectors. Nothing is written to None."""

    def __init__(self, context: Any, builder: ir.IRBuilder, kind: Any, value: Any):
        self.builder, self.there = builder, kind is not types.none
        if self.there:
            self.data = pointer(context, builder, kind, value)
            self.scalar = context.get_value_type(kind.dtype)
            self.size = kind.dtype.bitwidth // 8
            self.lanes = VECTOR_BYTES // self.size

    def load(self, index: Any, lanes: int | None = None) -> Any:
        """A vector, by default as long as the processor's."""
        return self.builder.load(self._place(index, ir.VectorType(self.scalar, lanes or self.lanes)), align=self.size)

    def store(self, vector: Any, index: Any) -> None:
        """Write a vector."""
        if self.there:
            self.builder.store(vector, self._place(index, vector.type), align=self.size)

    def _place(self, index: Any, kind: ir.VectorType) -> Any:
        return self.builder.bitcast(self.builder.gep(self.data, [index]), kind.as_pointer())


def pick(builder: ir.IRBuilder, pixels: list[Any]) -> tuple[Any, Callable[[], Any]]:
    """The largest of four vectors, number by number, and what computes which it was, where that is wanted."""
    vector, lanes = pixels[0].type, pixels[0].type.count
    small = ir.VectorType(ir.IntType(8), lanes)
    wins, largest = [], pixels[0]
    for pixel in pixels[1:]:
        wins.append(builder.fcmp_ordered(">", pixel, largest))
        largest = builder.select(wins[-1], pixel, largest)
    nan = [builder.fcmp_unordered("uno", a, b) for a, b in (pixels[:2], pixels[2:])]
    largest = builder.select(builder.or_(*nan), ir.Constant(vector, [float("nan")] * lanes), largest)

    def which() -> Any:
        above = builder.fcmp_ordered(">", largest, ir.Constant(vector, [0.0] * lanes))
        number = ir.Constant(small, [0] * lanes)
        for k, won in enumerate(wins, 1):
            number = builder.select(won, ir.Constant(small, [k] * lanes), number)
        return builder.select(above, number, ir.Constant(small, [NOBODY] * lanes))

    return largest, which
