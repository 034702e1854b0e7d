"""Mixing four pixels of three channels: what an affine warp does with the most common pictures.

A pixel is loaded as a vector of four numbers, of which the last is the next pixel's and counts for nothing. It is stored
the same way, and the next pixel's store mends it; the last pixel of a row is stored number by number.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.simd.vectors import INT, broadcast, pointer


def _blend_in_numpy(picture, place, down, right, step_down, step_right, made, to, count):
    """What `blend` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    d, r = down[:count, None], right[:count, None]
    at = place[:count, None] + np.arange(3)
    upper = (1 - d) * ((1 - r) * picture[at] + r * picture[at + step_right])
    lower = d * ((1 - r) * picture[at + step_down] + r * picture[at + step_down + step_right])
    made[to : to + 3 * count] = (upper + lower).reshape(-1)


@intrinsic
def _blend_in_llvm(typingctx, picture, place, down, right, step_down, step_right, made, to, count):
    """One row of `count` pixels: made[to + 3 j + c] from picture[place[j] + c] and its neighbours to the right and below.

    `down` and `right` say how far towards those the pixel lies; one number behind the picture is read.
    """
    intp = types.intp

    def codegen(context, builder, sig, args):
        picture, place, down, right, made = (pointer(context, builder, sig.args[k], args[k]) for k in (0, 1, 2, 3, 6))
        step_down, step_right, to, count = args[4], args[5], args[7], args[8]
        scalar = context.get_value_type(sig.args[0].dtype)
        size = sig.args[0].dtype.bitwidth // 8
        vector = ir.VectorType(scalar, 4)
        flags = ("contract",)

        def pixel(at):
            return builder.load(builder.bitcast(builder.gep(picture, [at]), vector.as_pointer()), align=size)

        one = ir.Constant(scalar, 1.0)
        last = builder.sub(count, INT(1))
        with cgutils.for_range(builder, count) as loop:
            j = loop.index
            k = builder.load(builder.gep(place, [j]))
            d, r = builder.load(builder.gep(down, [j])), builder.load(builder.gep(right, [j]))
            w11 = builder.fmul(d, r)
            w01, w10 = builder.fsub(r, w11), builder.fsub(d, w11)
            w00 = builder.fsub(builder.fsub(one, d), w01)
            below = builder.add(k, step_down)
            mixed = builder.fmul(broadcast(builder, w00, vector), pixel(k))
            for weight, at in ((w01, builder.add(k, step_right)), (w10, below), (w11, builder.add(below, step_right))):
                mixed = builder.fadd(mixed, builder.fmul(broadcast(builder, weight, vector), pixel(at), flags=flags), flags=flags)
            where = builder.gep(made, [builder.add(to, builder.mul(j, INT(3)))])
            with builder.if_else(builder.icmp_signed("<", j, last)) as (inside, at_end):
                with inside:
                    builder.store(mixed, builder.bitcast(where, vector.as_pointer()), align=size)
                with at_end:
                    for c in range(3):
                        builder.store(builder.extract_element(mixed, ir.IntType(32)(c)), builder.gep(where, [INT(c)]))
        return context.get_dummy_value()

    return types.void(picture, place, down, right, intp, intp, made, intp, intp), codegen


blend = _blend_in_numpy if config.DISABLE_JIT else _blend_in_llvm
