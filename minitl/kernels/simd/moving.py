"""Neighbouring numbers copied, and set to zero, by the C library: a loop would be compiled into every kernel as vectors."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.simd.vectors import INT, pointer


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


copy: Any = copy_in_numpy if config.DISABLE_JIT else _copy_in_llvm
clear: Any = clear_in_numpy if config.DISABLE_JIT else _clear_in_llvm


def _bytes(builder: ir.IRBuilder, count: Any, kind: Any) -> Any:
    there = builder.select(builder.icmp_signed(">", count, INT(0)), count, INT(0))
    return builder.mul(there, INT(kind.dtype.bitwidth // 8))
