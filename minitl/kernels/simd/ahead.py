"""What comes nearer while tiles are computed: a walk through memory, some bytes of it with every term of a tile's sums.

A core that copies a large matrix from memory does nothing else meanwhile. But it can ask for the part that is needed next while
it multiplies what is near. If it asked for many lines at once, it would wait as well; one with every few multiplications costs
nothing.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.simd.moving import fetch
from minitl.kernels.simd.vectors import INT, pointer

NUMBERS = 5  # of a walk: its address, what is left of its row, the length of a row, the gap to the next one, the step; in bytes


def begin_walk_in_numpy(source, at, count, row, step):
    """What `begin_walk` gives where nothing is compiled: no walk."""
    return 0


@intrinsic
def _begin_walk_in_llvm(typingctx, source, at, count, row, step):
    """Begin a walk at source[at], through `count` numbers of each row; the next row is `row` numbers further on.

    It goes on by `step` bytes with each term of the sums of those tiles that take it along, from tile to tile and product to
    product, and need not end. Returns what `finished_product` takes: the address of the walk's numbers, which are kept as long as
    the function runs that began it, or 0 if the step is 0.
    """
    intp, size = types.intp, source.dtype.bitwidth // 8

    def codegen(context, builder, sig, args):
        begin = builder.gep(pointer(context, builder, sig.args[0], args[0]), [args[1]])
        length, gap = (builder.mul(number, INT(size)) for number in (args[2], builder.sub(args[3], args[2])))
        place = cgutils.alloca_once(builder, INT, size=NUMBERS)
        write(builder, place, [builder.ptrtoint(begin, INT), length, length, gap, args[4]])
        return builder.select(builder.icmp_signed(">", args[4], INT(0)), builder.ptrtoint(place, INT), INT(0))

    return intp(source, intp, intp, intp, intp), codegen


begin_walk: Any = begin_walk_in_numpy if config.DISABLE_JIT else _begin_walk_in_llvm


def write(builder: ir.IRBuilder, place: Any, numbers: list[Any]) -> None:
    """Inside an intrinsic: write a walk's numbers, or the first ones of them."""
    for k, number in enumerate(numbers):
        builder.store(number, builder.gep(place, [INT(k)]))


class Walk:
    """Inside an intrinsic: a walk whose numbers are at a place, while a tile takes it along."""

    def __init__(self, builder: ir.IRBuilder, place: Any) -> None:
        self.builder, self.place = builder, place
        at, left, self.length, self.gap, self.step = (builder.load(builder.gep(place, [INT(k)])) for k in range(NUMBERS))
        self.at, self.left = (cgutils.alloca_once_value(builder, value) for value in (at, left))

    def go_on(self) -> None:
        """Bring nearer what is here, and take a step: to the next row, at a row's end."""
        builder = self.builder
        at, left = builder.load(self.at), builder.sub(builder.load(self.left), self.step)
        fetch(builder, builder.inttoptr(at, ir.IntType(8).as_pointer()))
        is_end, at = builder.icmp_signed("<=", left, INT(0)), builder.add(at, self.step)
        builder.store(builder.select(is_end, builder.add(at, self.gap), at), self.at)
        builder.store(builder.select(is_end, builder.add(left, self.length), left), self.left)

    def rest(self) -> None:
        """Write down where it is, for the tile that takes it along next."""
        write(self.builder, self.place, [self.builder.load(value) for value in (self.at, self.left)])
