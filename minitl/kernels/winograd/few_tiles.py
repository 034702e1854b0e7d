"""What is compiled of Winograd's convolution for so few tiles that U is never written: some filters of y, on pointers.

M has one vector of filters behind another, and V is brought into that order as it is used, so that all planes of a vector are
neighbours in memory. The kernel's entries of some channels are copied first, too: where they are, few of those that are used
together are near each other, and each would be waited for.
"""

from __future__ import annotations

from minitl.kernels.launch import Bytes, Numbers, Scratch, Task, task_kernel
from minitl.kernels.simd import clear, copy_panels, transformed_product
from minitl.kernels.simd.transformed import TILES_AT_ONCE
from minitl.kernels.winograd.matrices import KERNEL_4
from minitl.kernels.winograd.output import write_output
from minitl.kernels.winograd.patches import write_patches
from minitl.kernels.winograd.plan import Sizes


@task_kernel
def forward_of_few(
    task: Task, s: Sizes, x: Numbers, weights: Numbers, bias: Numbers, scale: Numbers, skip: Numbers, y: Numbers, winner: Bytes,
    scratch: Scratch,
):  # fmt: skip
    """y of all images, for some filters."""
    filters, vector = s.filters // s.chunks, s.channels_at_once
    in_filters, of_vector, of_entry = task * filters, s.planes * s.plane_m, vector * filters
    in_kernel = s.in_u + of_vector
    write_patches(x, s, 0, s.images, 0, s.grid_h, s.grid_w, scratch)
    clear(scratch, s.in_m, filters // vector * of_vector)
    for channel in range(0, s.channels, vector):
        for plane in range(s.planes):
            at, to = plane * s.plane_v + channel, s.in_u + plane * s.plane_m
            copy_panels(scratch, at, s.channels, None, 0, scratch, to, 0, vector, 1, TILES_AT_ONCE)
        for entry in range(9):
            at = (entry * s.channels + channel) * s.filters + in_filters
            to = in_kernel + entry * of_entry
            copy_panels(weights, at, s.filters, scale, in_filters, scratch, to, 0, filters, 1, vector)
        transformed_product(
            KERNEL_4, scratch, in_kernel, of_entry, filters, scratch, s.in_u, scratch, s.in_m, filters, vector,
        )  # fmt: skip
    for f in range(0, filters, vector):
        in_m = s.in_m + f // vector * of_vector
        write_output(s, 0, s.images, 0, s.grid_h, in_filters + f, vector, in_m, s.plane_m, bias, skip, y, winner, scratch)
