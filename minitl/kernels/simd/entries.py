"""What a task kernel's machine code takes, and how its plan is read: the same for all kernels.

    entry(task, six arrays of numbers, one of bytes, three of indices, the plan, scratch)

All but the task are addresses. A plan is a NamedTuple of whole numbers; in memory it is its fields one after another.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

NUMBERS = ("numbers_0", "numbers_1", "numbers_2", "numbers_3", "numbers_4", "numbers_5")
BYTES = ("bytes_0",)
INDICES = ("indices_0", "indices_1", "indices_2")
SLOTS = len(NUMBERS) + len(BYTES) + len(INDICES) + 1  # and the plan


@intrinsic
def read_plan(typingctx, numbers, kind):
    """The plan of a NamedTuple class, from where its fields lie."""
    if not isinstance(kind, types.NamedTupleClass):
        return None
    fields: Any = kind.instance_class._fields
    result = types.NamedUniTuple(types.int64, len(fields), kind.instance_class)

    def codegen(context, builder, sig, args):
        values = [builder.load(builder.gep(args[0], [ir.IntType(64)(k)])) for k in range(len(fields))]
        return context.make_tuple(builder, sig.return_type, values)

    return result(numbers, kind), codegen
