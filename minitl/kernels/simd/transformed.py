"""Products of some rows with many transformed matrices, which never leave the level-1 cache.

Winograd's convolution multiplies, in each plane, V (tiles x channels) with U = G g G^T of the kernel (channels x filters). Where
an image has few tiles, every number of U is used for these few alone, and writing U down and reading it again takes longer than
the products. Here one vector of filters and four channels at a time are transformed, and multiplied at once:

    m[plane][t, f] += sum_c v[plane][t, c] U[plane][c, f]

What is kept of the kernel in between are the columns of G g; a row of U comes from them, is used for four tiles in as many sums,
and is forgotten. Each sum runs over the channels in their order, as in `product`, so that it is the same to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.processor import VECTOR_BYTES
from minitl.kernels.simd.sandwich import FUSED, entries, multiply_stages, stages
from minitl.kernels.simd.vectors import INT, broadcast, internal, pointer

CHANNELS_AT_ONCE, TILES_AT_ONCE = 4, 4
ROUNDED = ()  # a product rounds, and then the sum: so it is in `sandwich` where two sums share the product, in rows and columns


def transformed_product_in_numpy(matrix, weights, at, entry, step, v, in_v, m, in_m, filters, channels):
    """What `transformed_product` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    g, size, lanes = entries(matrix), np.arange(3), VECTOR_BYTES // m.itemsize
    planes, side, numbers = len(g) ** 2, np.arange(TILES_AT_ONCE), np.arange(lanes)
    for f in range(0, filters, lanes):
        for c in range(channels):
            offsets = at + f + c * step + entry * (3 * size[:, None, None] + size[:, None]) + numbers
            u = np.einsum("ia,abf,jb->ijf", g, weights[offsets], g).reshape(planes, lanes)
            for plane in range(planes):
                rows = (plane * TILES_AT_ONCE + side) * lanes
                m[in_m + f * planes * TILES_AT_ONCE + rows[:, None] + numbers] += v[in_v + rows + c][:, None] * u[plane]


@intrinsic(prefer_literal=True)
def _transformed_product_in_llvm(typingctx, matrix, weights, at, entry, step, v, in_v, m, in_m, filters, channels):
    """Add to m, in all planes, the products of v and the transformed kernel, for some channels and all filters of a task.

    Entry (a, b) of channel c and filter f of the kernel is weights[at + (3 a + b) entry + c step + f]. Of v there is one vector
    of channels, (planes, four tiles, vector), of m a vector of filters behind another: (filters / vector, planes, four tiles,
    vector). Channels are a multiple of four, at most a vector.
    """
    size, intp = weights.dtype.bitwidth // 8, types.intp

    def codegen(context, builder, sig, args):
        def begin(position):
            return builder.gep(pointer(context, builder, sig.args[position], args[position]), [args[position + 1]])

        given = [begin(1), *args[3:5], begin(5), begin(7), *args[9:]]
        builder.call(_emit(builder.module, matrix.literal_value, context.get_value_type(weights.dtype), size), given)
        return context.get_dummy_value()

    return types.void(matrix, weights, intp, intp, intp, v, intp, m, *[intp] * 3), codegen


def _emit(module: ir.Module, matrix: str, scalar: ir.Type, size: int) -> ir.Function:
    """The function of this module for one constant matrix."""
    name = f"minitl_transformed_product_f{8 * size}"
    if name in module.globals:
        return module.globals[name]
    factors, lanes = stages(matrix), VECTOR_BYTES // size
    edge = len(factors[0])  # of a patch: there are edge^2 planes
    vector, numbers = ir.VectorType(scalar, lanes), scalar.as_pointer()
    function = internal(module, name, [numbers, INT, INT, numbers, numbers, INT, INT])
    weights, entry, step, v, m, filters, channels = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    columns = cgutils.alloca_once(builder, vector, size=edge * 3 * CHANNELS_AT_ONCE)  # of G g: row, column, channel

    def of_vector(place, index):
        return builder.bitcast(builder.gep(place, [index]), vector.as_pointer())

    def kept(row, column, c):
        return builder.gep(
            columns, [builder.add(builder.mul(row, INT(3 * CHANNELS_AT_ONCE)), INT(column * CHANNELS_AT_ONCE + c))]
        )

    def transform(first):
        """The columns of G g, for some channels."""
        for c in range(CHANNELS_AT_ONCE):
            of_channel = builder.gep(first, [builder.mul(step, INT(c))])
            for b in range(3):
                values = []
                for a in range(3):
                    place = builder.gep(of_channel, [builder.mul(entry, INT(3 * a + b))])
                    values.append(builder.load(of_vector(place, INT(0)), align=size))
                for i, value in enumerate(multiply_stages(builder, factors, values, FUSED if b == 1 else ROUNDED)):
                    builder.store(value, kept(INT(i), b, c))

    def multiply(row, flags, from_v, to_m):
        """A row of U, and its products."""
        lines = ([builder.load(kept(row, b, c)) for b in range(3)] for c in range(CHANNELS_AT_ONCE))
        u = [multiply_stages(builder, factors, line, flags) for line in lines]
        for j in range(edge):
            offset = builder.mul(builder.add(builder.mul(row, INT(edge)), INT(j)), INT(TILES_AT_ONCE * lanes))
            in_v, in_m = builder.gep(from_v, [offset]), builder.gep(to_m, [offset])
            targets = [of_vector(in_m, INT(t * lanes)) for t in range(TILES_AT_ONCE)]
            sums = [builder.load(target, align=size) for target in targets]
            for c in range(CHANNELS_AT_ONCE):
                for t in range(TILES_AT_ONCE):
                    number = builder.load(builder.gep(in_v, [INT(t * lanes + c)]), align=size)
                    term = builder.fmul(broadcast(builder, number, vector), u[c][j], flags=("contract",))
                    sums[t] = builder.fadd(sums[t], term, flags=("contract",))
            for total, target in zip(sums, targets, strict=True):
                builder.store(total, target, align=size)

    with cgutils.for_range_slice(builder, INT(0), filters, INT(lanes), INT) as (f, _):
        to_m = builder.gep(m, [builder.mul(f, INT(edge * edge * TILES_AT_ONCE))])
        with cgutils.for_range_slice(builder, INT(0), channels, INT(CHANNELS_AT_ONCE), INT) as (channel, _):
            transform(builder.gep(weights, [builder.add(f, builder.mul(channel, step))]))
            from_v = builder.gep(v, [channel])
            with cgutils.for_range_slice(builder, INT(0), INT(edge), INT(edge - 1), INT) as (row, _):
                multiply(row, ROUNDED, from_v, to_m)
            with cgutils.for_range_slice(builder, INT(1), INT(edge - 1), INT(1), INT) as (row, _):
                multiply(row, FUSED, from_v, to_m)
    builder.ret_void()
    return function


transformed_product: Any = transformed_product_in_numpy if config.DISABLE_JIT else _transformed_product_in_llvm
