"""What LLVM would not do by itself: functions that emit vector instructions. Nothing outside this folder speaks LLVM."""

from minitl.kernels.simd.addresses import as_array
from minitl.kernels.simd.ahead import begin_walk
from minitl.kernels.simd.blending import blend
from minitl.kernels.simd.channel_sums import moments, products
from minitl.kernels.simd.depthwise import depthwise_gradient, depthwise_row
from minitl.kernels.simd.exponential import exp, expm1, tanh
from minitl.kernels.simd.moving import clear, copy, prefetch
from minitl.kernels.simd.names import ready
from minitl.kernels.simd.panels import copy_panels
from minitl.kernels.simd.pooled_tile import pooled_product
from minitl.kernels.simd.pooling import best_of_sandwich, best_of_window, one_of_four
from minitl.kernels.simd.sandwich import biased_sandwich, sandwich, scaled_sandwich
from minitl.kernels.simd.square import square_product, square_sum
from minitl.kernels.simd.tile import finished_product, product
from minitl.kernels.simd.transformed import transformed_product
from minitl.kernels.simd.transposing import transpose
from minitl.kernels.simd.vectors import lanes, tile_columns, tile_rows, whole_vectors
from minitl.kernels.simd.views import constant, view

__all__ = [
    "as_array",
    "begin_walk",
    "best_of_sandwich",
    "best_of_window",
    "biased_sandwich",
    "blend",
    "clear",
    "constant",
    "copy",
    "copy_panels",
    "depthwise_gradient",
    "depthwise_row",
    "exp",
    "expm1",
    "finished_product",
    "lanes",
    "moments",
    "one_of_four",
    "pooled_product",
    "prefetch",
    "product",
    "products",
    "ready",
    "sandwich",
    "scaled_sandwich",
    "square_product",
    "square_sum",
    "tanh",
    "tile_columns",
    "tile_rows",
    "transformed_product",
    "transpose",
    "view",
    "whole_vectors",
]
