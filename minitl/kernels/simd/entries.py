"""What a task kernel's machine code takes, and how its plan is read: the same for all kernels.

    entry(task, seven arrays of numbers, one of bytes, three of indices, the plan, scratch)

All but the task are addresses. A plan is a NamedTuple of whole numbers; in memory it is its fields one after another.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from minitl.kernels.jit import config

NUMBERS = ("numbers_0", "numbers_1", "numbers_2", "numbers_3", "numbers_4", "numbers_5", "numbers_6")
BYTES = ("bytes_0",)
INDICES = ("indices_0", "indices_1", "indices_2")
SLOTS = len(NUMBERS) + len(BYTES) + len(INDICES) + 1  # and the plan


def _plan_in_python(numbers: Any, kind: Any) -> Any:
    """What `read_plan` gives: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    return kind._make(int(number) for number in numbers[: len(kind._fields)])


@intrinsic
def _plan_in_llvm(typingctx, numbers, kind):
    """The plan of a NamedTuple class, from where its fields lie."""
    if not isinstance(kind, types.NamedTupleClass):
        return None
    fields: Any = kind.instance_class._fields
    result = types.NamedUniTuple(types.int64, len(fields), kind.instance_class)

    def codegen(context, builder, sig, args):
        values = [builder.load(builder.gep(args[0], [ir.IntType(64)(k)])) for k in range(len(fields))]
        return context.make_tuple(builder, sig.return_type, values)

    return result(numbers, kind), codegen


read_plan: Any = _plan_in_python if config.DISABLE_JIT else _plan_in_llvm
