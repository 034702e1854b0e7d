"""Neighbouring numbers copied, and set to zero, by the C library: a loop would be compiled into every kernel as vectors.

And brought nearer before they are needed, which the processor does by itself only along a page.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.processor import CACHE_LINE
from minitl.kernels.simd.vectors import INT, internal, pointer


def copy_in_numpy(source, at, target, to, count):
    """What `copy` does: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    for k in range(count):
        target[to + k] = source[at + k]


def clear_in_numpy(target, to, count):
    """What `clear` does: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    for k in range(count):
        target[to + k] = 0


@intrinsic
def _copy_in_llvm(typingctx, source, at, target, to, count):
    """Copy `count` numbers from source[at] on to target[to] on; the two do not overlap. A count below zero is nothing."""
    intp = types.intp

    def codegen(context, builder, sig, args):
        _, at, _, to, count = args
        begin, end = (pointer(context, builder, sig.args[k], args[k]) for k in (0, 2))
        size = _bytes(builder, count, source)
        cgutils.raw_memcpy(builder, builder.gep(end, [to]), builder.gep(begin, [at]), size, 1)
        return context.get_dummy_value()

    return types.void(source, intp, target, intp, intp), codegen


@intrinsic
def _clear_in_llvm(typingctx, target, to, count):
    """Set `count` numbers from target[to] on to zero. A count below zero is nothing."""
    intp = types.intp

    def codegen(context, builder, sig, args):
        _, to, count = args
        begin = builder.gep(pointer(context, builder, sig.args[0], args[0]), [to])
        cgutils.memset(builder, begin, _bytes(builder, count, target), 0)
        return context.get_dummy_value()

    return types.void(target, intp, intp), codegen


def prefetch_in_numpy(source, at, count):
    """What `prefetch` computes: nothing."""


@intrinsic
def _prefetch_in_llvm(typingctx, source, at, count):
    """Begin to bring `count` numbers from source[at] on nearer, by lines of the cache. They need not be there."""
    intp, size = types.intp, source.dtype.bitwidth // 8

    def codegen(context, builder, sig, args):
        begin = builder.gep(pointer(context, builder, sig.args[0], args[0]), [args[1]])
        bytes_of = builder.mul(args[2], INT(size))
        builder.call(_fetching(builder.module), [builder.bitcast(begin, ir.IntType(8).as_pointer()), bytes_of])
        return context.get_dummy_value()

    return types.void(source, intp, intp), codegen


def _fetching(module: ir.Module) -> ir.Function:
    """The function of this module that fetches so many bytes from a place on: it is called, since loops take long to compile."""
    if "minitl_fetching" in module.globals:
        return module.globals["minitl_fetching"]
    function = internal(module, "minitl_fetching", [ir.IntType(8).as_pointer(), INT])
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    with cgutils.for_range_slice(builder, INT(0), function.args[1], INT(CACHE_LINE), INT) as (k, _):
        fetch(builder, builder.gep(function.args[0], [k]))
    builder.ret_void()
    return function


def fetch(builder: ir.IRBuilder, place: Any, write: bool = False) -> None:
    """Begin to bring the line of the cache at a place nearer, into the level-2 cache: to be read, or written."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, *[ir.IntType(32)] * 3])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.bitcast(place, byte), *(ir.IntType(32)(n) for n in (int(write), 2, 1))])


def rows_fetched(module: ir.Module, write: bool, size: int) -> ir.Function:
    """The function of this module that brings rows nearer, which begin where a table says: a call of its own, or every tile would
    have to be compiled with it.
    """
    name = f"minitl_fetch_{'written' if write else 'read'}_f{8 * size}"
    if name in module.globals:
        return module.globals[name]
    function = internal(module, name, [INT] * 4)
    table, begin, rows, columns = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    with cgutils.for_range(builder, rows) as row:
        in_table = builder.inttoptr(builder.add(table, builder.mul(row.index, INT(8))), INT.as_pointer())
        address = builder.add(begin, builder.mul(builder.load(in_table), INT(size)))
        with cgutils.for_range_slice(builder, INT(0), builder.mul(columns, INT(size)), INT(CACHE_LINE), INT) as (k, _):
            fetch(builder, builder.inttoptr(builder.add(address, k), ir.IntType(8).as_pointer()), write)
    builder.ret_void()
    return function


prefetch: Any = prefetch_in_numpy if config.DISABLE_JIT else _prefetch_in_llvm
copy: Any = copy_in_numpy if config.DISABLE_JIT else _copy_in_llvm
clear: Any = clear_in_numpy if config.DISABLE_JIT else _clear_in_llvm


def _bytes(builder: ir.IRBuilder, count: Any, kind: Any) -> Any:
    there = builder.select(builder.icmp_signed(">", count, INT(0)), count, INT(0))
    return builder.mul(there, INT(kind.dtype.bitwidth // 8))
