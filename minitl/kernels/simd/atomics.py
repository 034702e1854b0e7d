"""What threads that share work need beside arithmetic: atomic reads, writes and counts, calls by address, and pauses."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from minitl.kernels.processor import IS_X86

INT = ir.IntType(64)
BYTE_POINTER = ir.IntType(8).as_pointer()


def _place(context: Any, builder: ir.IRBuilder, kind: types.Type, state: Any, index: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, state).data, [index])


@intrinsic
def fetch_add(typingctx, state, index, value):
    """Add to state[index], and give what was there before."""

    def codegen(context, builder, sig, args):
        return builder.atomic_rmw("add", _place(context, builder, sig.args[0], args[0], args[1]), args[2], "seq_cst")

    return types.int64(state, types.intp, types.int64), codegen


@intrinsic
def exchange(typingctx, state, index, value):
    """Write state[index], and give what was there before."""

    def codegen(context, builder, sig, args):
        return builder.atomic_rmw("xchg", _place(context, builder, sig.args[0], args[0], args[1]), args[2], "seq_cst")

    return types.int64(state, types.intp, types.int64), codegen


@intrinsic
def read(typingctx, state, index):
    """state[index], as other threads last wrote it."""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(_place(context, builder, sig.args[0], args[0], args[1]), "seq_cst", 8)

    return types.int64(state, types.intp), codegen


@intrinsic
def write(typingctx, state, index, value):
    """state[index] = value, for other threads to see, with all that was written before."""

    def codegen(context, builder, sig, args):
        builder.store_atomic(args[2], _place(context, builder, sig.args[0], args[0], args[1]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(state, types.intp, types.int64), codegen


@intrinsic
def pause(typingctx):
    """Tell the processor that this is a loop that waits."""

    def codegen(context, builder, sig, args):
        if IS_X86:
            function = builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), ir.FunctionType(ir.VoidType(), []))
            builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def yield_processor(typingctx, function):
    """Call the system's function at an address that lets another thread run."""

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def call_lock(typingctx, function, lock, wait):
    """Call Python's PyThread_acquire_lock(lock, wait) by its address, or PyThread_release_lock, which looks at the lock alone."""

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(ir.IntType(32), [BYTE_POINTER, ir.IntType(32)])
        lock = builder.inttoptr(args[1], BYTE_POINTER)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [lock, builder.trunc(args[2], ir.IntType(32))])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def call_entry(typingctx, entry, task, state, first, scratch):
    """Call the machine code of a task kernel: with the number of a task, the addresses in state[first:first + SLOTS], and where
    this thread's scratch begins.
    """
    from minitl.kernels.simd.entries import SLOTS

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[2])(context, builder, args[2]).data
        slots = [builder.load(builder.gep(data, [builder.add(args[3], INT(k))])) for k in range(SLOTS)]
        kind = ir.FunctionType(ir.VoidType(), [INT, *[BYTE_POINTER] * (SLOTS + 1)])
        pointers = [builder.inttoptr(slot, BYTE_POINTER) for slot in (*slots, args[4])]
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1], *pointers])
        return context.get_dummy_value()

    return types.void(types.int64, types.intp, state, types.intp, types.int64), codegen
