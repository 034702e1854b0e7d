"""A matrix turned on its side, in square blocks that fit the registers.

Element by element, either the reads or the writes jump from row to row. A block of as many rows as a vector has numbers is
loaded row by row, and its quarters are exchanged, then the quarters of its quarters, and so on; what is stored are its columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from minitl.kernels.jit import config, inner
from minitl.kernels.processor import VECTOR_BYTES
from minitl.kernels.simd.vectors import INT, lanes, pointer


def _transpose_in_numpy(source, at, row, rows, columns, target, to, to_row):
    """What `transpose` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    i, j = np.arange(rows)[:, None], np.arange(columns)
    target[to + j * to_row + i] = source[at + i * row + j]


@inner()
def _transpose_in_llvm(source, at, row, rows, columns, target, to, to_row):
    """target[to + j to_row + i] = source[at + i row + j] for `rows` x `columns` numbers."""
    size = lanes(source)
    for i in range(0, rows, size):
        for j in range(0, columns, size):
            if i + size <= rows and j + size <= columns:
                _block(source, at + i * row + j, row, target, to + j * to_row + i, to_row)
                continue
            for a in range(i, min(i + size, rows)):
                for b in range(j, min(j + size, columns)):
                    target[to + b * to_row + a] = source[at + a * row + b]


transpose: Any = _transpose_in_numpy if config.DISABLE_JIT else _transpose_in_llvm


@intrinsic
def _block(typingctx, source, at, row, target, to, to_row):
    intp = types.intp
    size = source.dtype.bitwidth // 8
    count = VECTOR_BYTES // size

    def codegen(context, builder, sig, args):
        _, at, row, _, to, to_row = args
        vector = ir.VectorType(context.get_value_type(source.dtype), count)
        read, write = (pointer(context, builder, sig.args[k], args[k]) for k in (0, 3))

        def place(array, begin, step, k):
            index = builder.add(begin, builder.mul(step, INT(k)))
            return builder.bitcast(builder.gep(array, [index]), vector.as_pointer())

        def pick(a, b, places):
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), count), places))

        block = [builder.load(place(read, at, row, k), align=size) for k in range(count)]
        half = count // 2
        while half:
            for k in range(count):
                if not k & half:  # the upper right quarter of the two rows' squares changes places with the lower left one
                    a, b = block[k], block[k + half]
                    block[k] = pick(a, b, [count + i - half if i & half else i for i in range(count)])
                    block[k + half] = pick(a, b, [count + i if i & half else i + half for i in range(count)])
            half //= 2
        for k in range(count):
            builder.store(block[k], place(write, to, to_row, k), align=size)
        return context.get_dummy_value()

    return types.void(source, intp, intp, target, intp, intp), codegen
