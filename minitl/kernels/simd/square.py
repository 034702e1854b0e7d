"""Products with square matrices that stay in the registers: as many rows and columns as a vector has numbers.

The register tile (`tile`) takes rows from wherever they are and sums of any length, and has to look up, begin and end each row.
For sums of 16 terms that takes as long as the sums. Where rows follow one another and the matrix is square,

    square_product    c[r] = start + sum_k a[r, k] b[k]       b stays in the registers, for all rows
    square_sum        c[k] = start[k] + sum_r a[r, k] b[r]    c does

all places are known beforehand, and every multiply-add reads its number of a while it computes. Each element's sum runs in the
order of `product`, so that it is the same to the bit.
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
from minitl.kernels.simd.vectors import INT, broadcast, internal, pointer

ROWS_AT_ONCE = 8  # sums side by side: one multiply-add takes as long as eight, which do not wait for each other


def square_product_in_numpy(a, a_at, b, b_at, start, start_at, c, c_at, rows):
    """What `square_product` computes, step by step: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    size = VECTOR_BYTES // c.itemsize
    numbers = np.arange(size)
    for r in range(rows):
        total = start[start_at + numbers].copy()
        for k in range(size):
            total += a[a_at + r * size + k] * b[b_at + k * size + numbers]
        c[c_at + r * size + numbers] = total


def square_sum_in_numpy(a, a_at, b, b_at, start, start_at, start_step, c, c_at, rows):
    """What `square_sum` computes, step by step: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    size = VECTOR_BYTES // c.itemsize
    numbers = np.arange(size)
    for k in range(size):
        total = start[start_at + k * start_step + numbers].copy()
        for r in range(rows):
            total += a[a_at + r * size + k] * b[b_at + r * size + numbers]
        c[c_at + k * size + numbers] = total


@intrinsic
def _square_product_in_llvm(typingctx, a, a_at, b, b_at, start, start_at, c, c_at, rows):
    """c[r] = start + sum_k a[r, k] b[k] for `rows` rows of a and c, which follow one another; c is none of the others."""
    return _call_of(_product, [a, b, start, c], 0)


@intrinsic
def _square_sum_in_llvm(typingctx, a, a_at, b, b_at, start, start_at, start_step, c, c_at, rows):
    """c[k] = start[k] + sum_r a[r, k] b[r] over `rows` rows of a and b, which follow one another.

    Row k of start begins at start[start_at + k start_step]; it may be c.
    """
    return _call_of(_sum, [a, b, start, c], 1)


square_product: Any = square_product_in_numpy if config.DISABLE_JIT else _square_product_in_llvm
square_sum: Any = square_sum_in_numpy if config.DISABLE_JIT else _square_sum_in_llvm


def _call_of(fill: Callable[..., None], arrays: list[Any], steps: int) -> tuple[Any, Callable]:
    """The signature and the code of a call: arrays, each with an index, so many steps, and a count of rows."""
    intp = types.intp
    a, b, start, c = arrays
    kinds = [a, intp, b, intp, start, intp, *[intp] * steps, c, intp, intp]

    def codegen(context, builder, sig, args):
        places = [0, 2, 4, 6 + steps]
        begins = [builder.gep(pointer(context, builder, kinds[k], args[k]), [args[k + 1]]) for k in places]
        function = _function(builder.module, fill, a.dtype.bitwidth // 8, 5 + steps)
        builder.call(function, [*(builder.ptrtoint(begin, INT) for begin in begins), *args[6 : 6 + steps], args[-1]])
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _function(module: ir.Module, fill: Callable[..., None], size: int, arguments: int) -> ir.Function:
    """The function of this module that `fill` writes, for numbers of `size` bytes: called, since it takes long to compile."""
    name = f"minitl_square{fill.__name__}_f{8 * size}"
    if name in module.globals:
        return module.globals[name]
    function = internal(module, name, [INT] * arguments)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    rows_of = _Rows(builder, size)
    fill(builder, rows_of, *(rows_of.at(address) for address in function.args[:4]), *function.args[4:])
    builder.ret_void()
    return function


def _product(builder: ir.IRBuilder, rows_of: _Rows, a: Any, b: Any, start: Any, c: Any, rows: Any) -> None:
    few = INT(ROWS_AT_ONCE)
    matrix = [rows_of.load(b, k) for k in rows_of.numbers]
    first = rows_of.load(start, 0)

    def compute(row, count):
        begin = builder.mul(row, INT(rows_of.length))
        from_a, to_c = builder.gep(a, [begin]), builder.gep(c, [begin])
        sums = [first] * count
        for k in rows_of.numbers:
            sums = [rows_of.multiply_add(from_a, rows_of.length * r + k, matrix[k], sums[r]) for r in range(count)]
        for r in range(count):
            rows_of.store(sums[r], to_c, r)

    with builder.if_else(builder.icmp_signed("<", rows, few)) as (some, enough):
        with some, cgutils.for_range(builder, rows) as loop:
            compute(loop.index, 1)
        with enough, cgutils.for_range_slice(builder, INT(0), rows, few, INT) as (row, _):
            last = builder.sub(rows, few)  # the last ones begin earlier, and are computed twice where they overlap
            compute(builder.select(builder.icmp_signed("<", row, last), row, last), ROWS_AT_ONCE)


def _sum(builder: ir.IRBuilder, rows_of: _Rows, a: Any, b: Any, start: Any, c: Any, step: Any, rows: Any) -> None:
    sums = [cgutils.alloca_once(builder, rows_of.vector) for _ in rows_of.numbers]  # which LLVM turns into registers
    for k in rows_of.numbers:
        builder.store(rows_of.load(builder.gep(start, [builder.mul(step, INT(k))]), 0), sums[k])
    with cgutils.for_range(builder, rows) as loop:
        begin = builder.mul(loop.index, INT(rows_of.length))
        from_a, row = builder.gep(a, [begin]), rows_of.load(builder.gep(b, [begin]), 0)
        for k in rows_of.numbers:
            builder.store(rows_of.multiply_add(from_a, k, row, builder.load(sums[k])), sums[k])
    for k in rows_of.numbers:
        rows_of.store(builder.load(sums[k]), c, k)


class _Rows:
    """Inside an intrinsic: rows of one vector each, of numbers of `size` bytes."""

    def __init__(self, builder: ir.IRBuilder, size: int):
        self.builder, self.size, self.length = builder, size, VECTOR_BYTES // size
        self.numbers = range(self.length)
        self.scalar = {4: ir.FloatType(), 8: ir.DoubleType()}[size]
        self.vector = ir.VectorType(self.scalar, self.length)

    def at(self, address: Any) -> Any:
        """The first number at an address."""
        return self.builder.inttoptr(address, self.scalar.as_pointer())

    def load(self, matrix: Any, row: int) -> Any:
        """A row."""
        return self.builder.load(self._row(matrix, row), align=self.size)

    def store(self, value: Any, matrix: Any, row: int) -> None:
        """Write a row."""
        self.builder.store(value, self._row(matrix, row), align=self.size)

    def multiply_add(self, a: Any, index: int, row: Any, total: Any) -> Any:
        """a[index] row + total, rounded once."""
        number = broadcast(self.builder, self.builder.load(self.builder.gep(a, [INT(index)]), align=self.size), self.vector)
        return self.builder.fadd(total, self.builder.fmul(number, row, flags=("contract",)), flags=("contract",))

    def _row(self, matrix: Any, row: int) -> Any:
        return self.builder.bitcast(self.builder.gep(matrix, [INT(row * self.length)]), self.vector.as_pointer())
