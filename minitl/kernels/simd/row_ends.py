"""The last vector of a row, of which only a part may be there: neither read nor written beyond the row's end."""

from __future__ import annotations

from collections.abc import Iterator
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

    def read(self, rows: list[Any], totals: list[list[Any]], size: int) -> None:
        """Copy rows of numbers of `size` bytes, which begin at these places, into slots for their vectors."""
        for row, slots in zip(rows, totals, strict=True):
            for v, slot in enumerate(slots[:-1]):
                self.builder.store(self.builder.load(in_row(self.builder, row, v), align=size), slot)
        for ends in self._both_ways():
            for row, slots in zip(rows, totals, strict=True):
                place = in_row(self.builder, row, len(slots) - 1)
                self.builder.store(self._load(place, size) if ends else self.builder.load(place, align=size), slots[-1])

    def write(self, totals: list[list[Any]], rows: list[Any], size: int) -> None:
        """Copy vectors to rows of numbers of `size` bytes, which begin at these places."""
        for vectors, row in zip(totals, rows, strict=True):
            for v, vector in enumerate(vectors[:-1]):
                self.builder.store(vector, in_row(self.builder, row, v), align=size)
        for ends in self._both_ways():
            for vectors, row in zip(totals, rows, strict=True):
                place = in_row(self.builder, row, len(vectors) - 1)
                if ends:
                    self._store(vectors[-1], place, size)
                else:
                    self.builder.store(vectors[-1], place, align=size)

    def _both_ways(self) -> Iterator[bool]:
        """Where to emit code for the rows' last vectors: when these are a part of one, and when they are whole."""
        with self.builder.if_else(self.part) as (some, whole):
            with some:
                yield True
            with whole:
                yield False

    def _load(self, place: Any, size: int) -> Any:
        """The last vector of a row; undefined behind the end."""
        vector = place.type.pointee
        load = self._masked("load", vector, vector, [place.type, ir.IntType(32), self.mask.type, vector])
        return self.builder.call(load, [place, ir.IntType(32)(size), self.mask, ir.Constant(vector, ir.Undefined)])

    def _store(self, vector: Any, place: Any, size: int) -> None:
        """Write the last vector of a row."""
        store = self._masked("store", vector.type, ir.VoidType(), [vector.type, place.type, ir.IntType(32), self.mask.type])
        self.builder.call(store, [vector, place, ir.IntType(32)(size), self.mask])

    def _masked(self, what: str, vector: Any, result: ir.Type, arguments: list[ir.Type]) -> Any:
        name = f"llvm.masked.{what}.v{vector.count}{vector.element.intrinsic_name}.p0"
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), name)


def in_row(builder: ir.IRBuilder, row: Any, v: int) -> Any:
    """Inside an intrinsic: where a row's vector v is."""
    return builder.gep(row, [INT(v)]) if v else row
