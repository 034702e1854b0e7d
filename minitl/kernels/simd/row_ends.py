"""The last vector of a row, of which only a part may be there: neither read nor written beyond the row's end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from minitl.kernels.simd.vectors import INT, broadcast


class RowEnds:
    """Inside an intrinsic: for rows that end after `width` numbers, in the last of `vectors` vectors."""

    def __init__(self, builder: ir.IRBuilder, width: Any, vectors: int, lanes: int):
        self.builder = builder
        in_last = builder.sub(width, INT((vectors - 1) * lanes))
        self.part = builder.icmp_signed("<", in_last, INT(lanes))
        numbers = ir.VectorType(ir.IntType(32), lanes)
        count = broadcast(builder, builder.trunc(in_last, ir.IntType(32)), numbers)
        self.mask = builder.icmp_signed("<", ir.Constant(numbers, list(range(lanes))), count)

    def both_ways(self, emit: Callable[[RowEnds | None], None]) -> None:
        """Emit a piece of code twice: with these ends, for rows whose last vector is a part, and with None for the others."""
        with self.builder.if_else(self.part) as (some, whole):
            with some:
                emit(self)
            with whole:
                emit(None)

    def load(self, place: Any, size: int) -> Any:
        """The last vector of a row; undefined behind the end."""
        vector = place.type.pointee
        load = self._masked("load", vector, vector, [place.type, ir.IntType(32), self.mask.type, vector])
        return self.builder.call(load, [place, ir.IntType(32)(size), self.mask, ir.Constant(vector, ir.Undefined)])

    def store(self, vector: Any, place: Any, size: int) -> None:
        """Write the last vector of a row."""
        store = self._masked("store", vector.type, ir.VoidType(), [vector.type, place.type, ir.IntType(32), self.mask.type])
        self.builder.call(store, [vector, place, ir.IntType(32)(size), self.mask])

    def _masked(self, what: str, vector: Any, result: ir.Type, arguments: list[ir.Type]) -> Any:
        name = f"llvm.masked.{what}.v{vector.count}{vector.element.intrinsic_name}.p0"
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), name)
