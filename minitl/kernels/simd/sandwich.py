"""m d m^T for many small matrices d at once, with a constant m: what Winograd's convolution does before and after its products.

Each number of d is a vector of neighbours in memory: channels. All of d is loaded into registers, combined, and stored.

Compiled from loops this would check for every call which of its 16 rows of input overlap which of its 16 rows of
output, and that takes longer than the sums.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.processor import VECTOR_BYTES
from minitl.kernels.simd.vectors import INT, broadcast, pointer

FUSED = ("contract",)  # a product and a sum may round once
Matrix: TypeAlias = list[list[float]]


def sandwich_in_numpy(matrix, edge, source, at, row, column, target, to, to_row, to_column, count, floor, add):
    """What `sandwich` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    m = entries(chosen(matrix, edge))
    out, size = (np.arange(n) for n in m.shape)
    numbers = source[at + row * size[:, None, None] + column * size[:, None] + np.arange(count)]
    results = np.einsum("ia,abv,jb->ijv", m, numbers, m)
    places = to + to_row * out[:, None, None] + to_column * out[:, None] + np.arange(count)
    results = results + target[places] if add else results
    target[places] = results if floor is None else np.where(results < floor, floor, results)


@intrinsic(prefer_literal=True)
def _sandwich_in_llvm(typingctx, matrix, edge, source, at, row, column, target, to, to_row, to_column, count, floor, add):
    """max(floor, m d m^T) for `count` matrices d side by side, a multiple of the vector's length; `floor` may be None.

    m is a constant, written out like "1 0; .5 .5", or one of two with a bar between them, the first for an `edge` of 2. Entry
    (i, j) of all d begins at source[at + i row + j column]. With the constant `add` the results are added to what is there.
    """
    intp = types.intp
    size = source.dtype.bitwidth // 8

    def codegen(context, builder, sig, args):
        _, edge, _, at, row, column, _, to, to_row, to_column, count, floor, _ = args
        read, write = (pointer(context, builder, sig.args[k], args[k]) for k in (2, 6))
        kind = add.literal_value, context.get_value_type(source.dtype), size, floored
        begin = builder.gep(read, [at]), row, column, builder.gep(write, [to]), to_row, to_column
        _call(builder, matrix.literal_value, edge, kind, [*begin, count, *([floor] if floored else [])])
        return context.get_dummy_value()

    floored = floor is not types.none
    floor = source.dtype if floored else floor
    return types.void(matrix, intp, source, intp, intp, intp, target, intp, intp, intp, intp, floor, add), codegen


def scaled_sandwich_in_numpy(matrix, edge, source, at, row, column, scale, in_scale, target, to, to_row, to_column, count):
    """What `scaled_sandwich` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    size, numbers = len(entries(chosen(matrix, edge))[0]), np.arange(count)
    scaled = np.array([[source[at + i * row + j * column + numbers] for j in range(size)] for i in range(size)])
    scaled = (scaled * scale[in_scale + numbers]).reshape(-1)
    sandwich_in_numpy(matrix, edge, scaled, 0, size * count, count, target, to, to_row, to_column, count, None, False)


@intrinsic(prefer_literal=True)
def _scaled_sandwich_in_llvm(
    typingctx, matrix, edge, source, at, row, column, scale, in_scale, target, to, to_row, to_column, count
):  # fmt: skip
    """m d m^T for `count` matrices d side by side, all of matrix number v multiplied by scale[in_scale + v] first."""
    return _with_own_number("scaled", matrix, source, scale, target, [])


def biased_sandwich_in_numpy(matrix, edge, source, at, row, column, bias, in_bias, target, to, to_row, to_column, count, floor):
    """What `biased_sandwich` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    out, numbers = len(entries(chosen(matrix, edge))), np.arange(count)
    for i in range(out):
        for j in range(out):
            target[to + i * to_row + j * to_column + numbers] = bias[in_bias + numbers]
    sandwich_in_numpy(matrix, edge, source, at, row, column, target, to, to_row, to_column, count, floor, True)


@intrinsic(prefer_literal=True)
def _biased_sandwich_in_llvm(
    typingctx, matrix, edge, source, at, row, column, bias, in_bias, target, to, to_row, to_column, count, floor
):  # fmt: skip
    """max(floor, m d m^T + b) for `count` matrices d side by side, with b = bias[in_bias + v] for matrix number v."""
    return _with_own_number("biased", matrix, source, bias, target, [source.dtype])


def _with_own_number(beside: str, matrix: Any, source: Any, own: Any, target: Any, floor: list[Any]) -> tuple[Any, Callable]:
    """The signature and the code of a sandwich in which each matrix d has a number of its own; `floor` is its type, if any."""

    def codegen(context, builder, sig, args):
        _, edge, _, at, row, column, _, in_own, _, to, to_row, to_column, count, *floors = args
        read, numbers, write = (pointer(context, builder, sig.args[k], args[k]) for k in (2, 6, 8))
        kind = False, context.get_value_type(source.dtype), source.dtype.bitwidth // 8, bool(floor), beside
        begin = builder.gep(read, [at]), row, column, builder.gep(write, [to]), to_row, to_column
        _call(builder, matrix.literal_value, edge, kind, [*begin, count, *floors, builder.gep(numbers, [in_own])])
        return context.get_dummy_value()

    intp = types.intp
    return types.void(matrix, intp, source, intp, intp, intp, own, intp, target, intp, intp, intp, intp, *floor), codegen


sandwich: Any = sandwich_in_numpy if config.DISABLE_JIT else _sandwich_in_llvm
scaled_sandwich: Any = scaled_sandwich_in_numpy if config.DISABLE_JIT else _scaled_sandwich_in_llvm
biased_sandwich: Any = biased_sandwich_in_numpy if config.DISABLE_JIT else _biased_sandwich_in_llvm


def _call(builder: ir.IRBuilder, matrix: str, edge: Any, kind: tuple, arguments: list[Any]) -> None:
    """Call the function for the matrix, or, where there are two, for the one that belongs to the edge."""
    small, *large = (_emit(builder.module, one.strip(), *kind) for one in matrix.split("|"))
    if not large:
        builder.call(small, arguments)
        return
    with builder.if_else(builder.icmp_signed("==", edge, INT(2))) as (if_small, if_large):
        with if_small:
            builder.call(small, arguments)
        with if_large:
            builder.call(large[0], arguments)


def _emit(module: ir.Module, matrix: str, add: bool, scalar: ir.Type, size: int, floored: bool, beside: str = "") -> ir.Function:
    """The function of this module for one constant matrix; `beside` says what comes with each d: "scaled", "biased"."""
    factors = stages(matrix)
    lanes = VECTOR_BYTES // size
    name = f"minitl_sandwich_{zlib.crc32(matrix.encode()):x}_{add:d}{floored:d}{beside}_f{8 * size}"
    if name in module.globals:
        return module.globals[name]
    numbers = scalar.as_pointer()
    arguments = [numbers, INT, INT, numbers, INT, INT, INT, *([scalar] if floored else []), *([numbers] if beside else [])]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    source, row, column, target, to_row, to_column, count, *more = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vector = ir.VectorType(scalar, lanes)
    floors = broadcast(builder, more[0], vector) if floored else None

    def place(array, rows, columns, i, j, v):
        index = builder.add(v, builder.add(builder.mul(rows, INT(i)), builder.mul(columns, INT(j))))
        return builder.bitcast(builder.gep(array, [index]), vector.as_pointer())

    with cgutils.for_range_slice(builder, INT(0), count, INT(lanes), INT) as (v, _):
        own = builder.load(builder.bitcast(builder.gep(more[-1], [v]), vector.as_pointer()), align=size) if beside else None

        def load(i, j, v=v, own=own):
            number = builder.load(place(source, row, column, i, j, v), align=size)
            return builder.fmul(number, own) if beside == "scaled" else number

        for i, line in enumerate(combine(builder, factors, load)):
            for j, result in enumerate(line):
                where = place(target, to_row, to_column, i, j, v)
                if add:
                    result = builder.fadd(builder.load(where, align=size), result)
                if beside == "biased":
                    result = builder.fadd(own, result)
                if floored:
                    result = builder.select(builder.fcmp_ordered("<", result, floors), floors, result)
                builder.store(result, where, align=size)
    builder.ret_void()
    return function


def combine(builder: ir.IRBuilder, factors: list[Matrix], load: Callable[[int, int], Any]) -> list[list[Any]]:
    """m d m^T in registers, from what loads the vector d[i, j]; m is the product of `factors`."""
    size = range(len(factors[-1][0]))
    columns = [multiply_stages(builder, factors, [load(i, j) for i in size]) for j in size]
    return [multiply_stages(builder, factors, [column[i] for column in columns]) for i in range(len(factors[0]))]


def multiply_stages(builder: ir.IRBuilder, factors: list[Matrix], values: list[Any], flags: tuple[str, ...] = FUSED) -> list[Any]:
    """The product of the factors with a column of vectors, in registers."""
    for m in reversed(factors):
        values = [_total(builder, line, values, flags) for line in m]
    return values


def _total(builder: ir.IRBuilder, line: list[float], values: list[Any], flags: tuple[str, ...]) -> Any:
    """The sum of some vectors, each times a constant."""
    terms = [(factor, value) for factor, value in zip(line, values, strict=True) if factor]
    result = None
    for factor, value in sorted(terms, key=lambda term: term[0] < 0):  # begin with one to be added
        if abs(factor) != 1:
            value = builder.fmul(value, ir.Constant(value.type, [abs(factor)] * value.type.count), flags=flags)
        add_up = builder.fsub if factor < 0 else builder.fadd
        result = value if result is None else add_up(result, value, flags=flags)
    return result


def chosen(matrix: str, edge: int) -> str:
    """The matrix, or of two the one that belongs to the edge."""
    return matrix.split("|")[0 if edge == 2 else -1].strip()


def stages(matrix: str) -> list[Matrix]:
    """The factors of a matrix that is written out like "1 1; 1 -1 @ 1 0; .5 .5"; the last comes first to what it multiplies."""
    return [[[float(number) for number in row.split()] for row in factor.split(";")] for factor in matrix.split("@")]


def entries(matrix: str) -> np.ndarray:
    """The numbers of a matrix that is written out."""
    return functools.reduce(np.matmul, [np.array(factor) for factor in stages(matrix)])
