"""A call of machine code by its address, with addresses for arrays."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from minitl.kernels.simd.vectors import INT, pointer


@intrinsic
def call_task(typingctx, address, task, a, b, c, d, small, numbers, room):
    """Call the C function at `address` with the number of a task and where six arrays and the row of a scratch begin."""

    def codegen(context, builder, sig, args):
        arrays = [pointer(context, builder, kind, value) for kind, value in zip(sig.args[2:], args[2:], strict=True)]
        kind = ir.FunctionType(ir.VoidType(), [INT, *[array.type for array in arrays]])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1], *arrays])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, a, b, c, d, small, numbers, room), codegen
