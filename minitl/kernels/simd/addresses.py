"""Addresses of arrays, and arrays from addresses, so that one compiled function takes any number of them."""

from __future__ import annotations

import ctypes

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from minitl.kernels.jit import config, inner


def _address_in_python(array):
    """Where an array's numbers begin."""
    return array.ctypes.data


@intrinsic
def _address_in_llvm(typingctx, array):
    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, context.get_value_type(sig.return_type))

    return types.int64(array), codegen


def _as_array_in_python(address, count, like):
    """`count` numbers at an address, of the dtype of `like`: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    kind = {4: ctypes.c_float, 8: ctypes.c_double}[like.itemsize]
    return np.ctypeslib.as_array(ctypes.cast(int(address), ctypes.POINTER(kind)), (count,))


@intrinsic
def _pointer(typingctx, address, like):
    return types.CPointer(like.dtype)(address, like), lambda context, builder, sig, args: builder.inttoptr(
        args[0], context.get_value_type(sig.return_type)
    )


@inner()
def _as_array_in_llvm(address, count, like):
    return numba.carray(_pointer(address, like), count)


as_array = _as_array_in_python if config.DISABLE_JIT else _as_array_in_llvm
address_of = _address_in_python if config.DISABLE_JIT else _address_in_llvm
