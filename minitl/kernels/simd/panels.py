"""Rows of a matrix laid out as panels, as the register tile reads them: of a panel's columns, one row behind another.

In the matrix, the next row of a panel is as far away as the matrix is wide, often on another page: the tile would wait for each.
What is copied may be multiplied by a factor per column, where inference has folded a normalisation into the matrix. A row of some
panels is read as one run, and rows further down are on their way meanwhile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.processor import CACHE_LINE, VECTOR_BYTES
from minitl.kernels.simd.moving import fetch
from minitl.kernels.simd.vectors import INT, internal, pointer

AHEAD = 8  # rows that are on their way from memory while one is copied


def copy_panels_in_numpy(b, at, step, scale, left, panels, to, panel, width, count, rows):
    """What `copy_panels` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    of_row = np.arange(count * width)
    target = of_row // width * panel + of_row % width
    for j in range(rows):
        numbers = b[at + j * step + of_row]
        panels[to + target + j * width] = numbers if scale is None else numbers * scale[left + of_row]


@intrinsic
def _copy_panels_in_llvm(typingctx, b, at, step, scale, left, panels, to, panel, width, count, rows):
    """panels[to + p panel + j width + i] = b[at + j step + p width + i] scale[left + p width + i].

    For `rows` rows j, `count` panels p and `width` columns i, which are whole vectors. Without a scale (None) the numbers are
    copied as they are.
    """
    intp, scaled = types.intp, scale is not types.none

    def codegen(context, builder, sig, args):
        of_b, of_panels = (pointer(context, builder, sig.args[k], args[k]) for k in (0, 5))
        factors = builder.gep(pointer(context, builder, sig.args[3], args[3]), [args[4]]) if scaled else of_b
        given = [builder.gep(of_b, [args[1]]), args[2], factors, builder.gep(of_panels, [args[6]]), *args[7:]]
        builder.call(_copying(builder.module, of_b.type, b.dtype.bitwidth // 8, scaled), given)
        return context.get_dummy_value()

    return types.void(b, intp, intp, scale, intp, panels, intp, intp, intp, intp, intp), codegen


def _copying(module: ir.Module, kind: ir.PointerType, size: int, scaled: bool) -> ir.Function:
    """The function of this module for panels of numbers of a kind, of `size` bytes each."""
    name = f"minitl_{'scaled' if scaled else 'copied'}_panels_f{8 * size}"
    if name in module.globals:
        return module.globals[name]
    function = internal(module, name, [kind, INT, kind, kind, INT, INT, INT, INT])
    b, step, scale, panels, panel, width, count, rows = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    lanes = VECTOR_BYTES // size
    vector = ir.VectorType(kind.pointee, lanes).as_pointer()

    def load(place, index):
        return builder.load(builder.bitcast(builder.gep(place, [index]), vector), align=size)

    with cgutils.for_range(builder, rows) as row:
        source = builder.gep(b, [builder.mul(row.index, step)])
        further = builder.gep(source, [builder.mul(step, INT(AHEAD))])
        with cgutils.for_range_slice(builder, INT(0), builder.mul(count, width), INT(CACHE_LINE // size), INT) as (k, _):
            fetch(builder, builder.gep(further, [k]))
        with cgutils.for_range(builder, count) as one:
            first = builder.mul(one.index, width)
            target = builder.gep(panels, [builder.add(builder.mul(one.index, panel), builder.mul(row.index, width))])
            with cgutils.for_range_slice(builder, INT(0), width, INT(lanes), INT) as (i, _):
                numbers = load(source, builder.add(first, i))
                if scaled:
                    numbers = builder.fmul(numbers, load(scale, builder.add(first, i)))
                builder.store(numbers, builder.bitcast(builder.gep(target, [i]), vector), align=size)
    builder.ret_void()
    return function


copy_panels: Any = copy_panels_in_numpy if config.DISABLE_JIT else _copy_panels_in_llvm
