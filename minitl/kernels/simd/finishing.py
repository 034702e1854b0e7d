"""The end of a tile: what a residual block skips with is added to its sums, and what is too small or too large cut off."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from minitl.kernels.processor import VECTOR_BYTES
from minitl.kernels.simd.vectors import INT, broadcast, internal


def finish(builder: ir.IRBuilder, totals: list[Any], skips: list[Any], skip: Any, ceiling: Any, floor: Any, size: int) -> None:
    """Inside an intrinsic: total = min(ceiling, max(floor, total + skip)) in every slot.

    Slots are for numbers of `size` bytes, or vectors of them; `skips` are the places of what is added, if the address `skip` is
    not 0; the ceiling is whole, or 0 for none.
    """
    kind = totals[0].type.pointee

    def every(number: Any) -> Any:
        return broadcast(builder, number, kind) if isinstance(kind, ir.VectorType) else number

    def cut(way: str, limit: Any) -> None:
        for total in totals:
            value = builder.load(total)
            builder.store(builder.select(builder.fcmp_ordered(way, value, limit), limit, value), total)

    with builder.if_then(builder.icmp_signed("!=", skip, INT(0))):
        for total, place in zip(totals, skips, strict=True):
            builder.store(builder.fadd(builder.load(total), builder.load(place, align=size)), total)
    cut("<", every(floor))
    with builder.if_then(builder.icmp_signed("!=", ceiling, INT(0))):
        cut(">", every(builder.sitofp(ceiling, floor.type)))


def rows_finished(module: ir.Module, scalar: ir.Type, size: int) -> ir.Function:
    """The function of this module that does the same to rows that have just been written: a call of its own, or every tile would
    have to be compiled with it.

    It takes the address of a table that says where each row begins, in c and in the skip, the addresses of both, how many rows
    and how long, the ceiling and the floor.
    """
    name = f"minitl_finished_f{8 * size}"
    if name in module.globals:
        return module.globals[name]
    function = internal(module, name, [INT] * 6 + [scalar])
    table, c, skip, rows, width, ceiling, floor = function.args
    builder, lanes = ir.IRBuilder(function.append_basic_block("entry")), VECTOR_BYTES // size
    whole = builder.mul(builder.sdiv(width, INT(lanes)), INT(lanes))
    with cgutils.for_range(builder, rows) as row:
        begin = builder.load(builder.inttoptr(builder.add(table, builder.mul(row.index, INT(8))), INT.as_pointer()))
        for kind, first, end in ((ir.VectorType(scalar, lanes), INT(0), whole), (scalar, whole, width)):
            step = lanes if kind is not scalar else 1
            with cgutils.for_range_slice(builder, first, end, INT(step), INT) as (k, _):
                offset = builder.mul(builder.add(begin, k), INT(size))
                in_c, in_skip = (builder.inttoptr(builder.add(array, offset), kind.as_pointer()) for array in (c, skip))
                total = cgutils.alloca_once_value(builder, builder.load(in_c, align=size))
                finish(builder, [total], [in_skip], skip, ceiling, floor, size)
                builder.store(builder.load(total), in_c, align=size)
    builder.ret_void()
    return function
