"""U = G g G^T: what is compiled of Winograd's convolution for its kernel alone."""

from __future__ import annotations

from minitl.kernels.jit import inner
from minitl.kernels.launch import Numbers, Scratch, Task, task_kernel
from minitl.kernels.simd import clear, prefetch, sandwich, scaled_sandwich, transpose
from minitl.kernels.winograd.matrices import KERNEL
from minitl.kernels.winograd.plan import LINE, KernelSizes

ENTRIES_PER_TASK = 1024  # of the kernel that one task transforms, whole vectors
AHEAD = 4  # channels of the kernel that are on their way from memory while one is transformed
FILTERS_PER_TASK = 16  # of the kernel that one task rotates and transforms


@task_kernel
def transform_kernel(task: Task, plan: KernelSizes, parts: Numbers, scale: Numbers, u: Numbers):
    """U of some entries of the kernel."""
    size = plan.p * plan.q * plan.channels * plan.filters
    plane = size + LINE
    at, end = task * ENTRIES_PER_TASK, min((task + 1) * ENTRIES_PER_TASK, size)
    while at < end:  # a row of filters, or what is left of it
        count = min(end - at, plan.filters - at % plan.filters) if plan.scaled else end - at
        _transform(plan.edge, parts, at, size, plan.scaled, scale, at % plan.filters, u, at, plane, count)
        at += count


@task_kernel
def transform_rotated(task: Task, plan: KernelSizes, kernel: Numbers, u: Numbers, scratch: Scratch):
    """U of some filters of the rotated kernel: its last offset first, channels and filters exchanged."""
    p, q, channels, filters = plan.p, plan.q, plan.channels, plan.filters
    blocks = (filters + FILTERS_PER_TASK - 1) // FILTERS_PER_TASK
    a, b, first = task // blocks // q, task // blocks % q, task % blocks * FILTERS_PER_TASK
    count = min(FILTERS_PER_TASK, filters - first)
    size, whole = count * channels, p * q * channels * filters
    for k in range(9):
        if (a > 0 and k < 3) or (b > 0 and k % 3 == 0):
            clear(scratch, k * size, size)
            continue
        row, column = 2 * p - 2 * a - k // 3, 2 * q - 2 * b - k % 3
        at = (row * (2 * q + 1) + column) * channels * filters + first
        transpose(kernel, at, filters, channels, count, scratch, k * size, channels)
    to, plane = ((a * q + b) * filters + first) * channels, whole + LINE
    sandwich(KERNEL, plan.edge, scratch, 0, 3 * size, size, u, to, (plan.edge + 2) * plane, plane, size, None, False)


@inner()
def part_of_u(weights, s, scale, channel, channels, in_filters, filters, scratch):
    """U of some channels and some filters, behind everything else in a task's scratch."""
    size = s.p * s.q * s.channels * s.filters
    for e in range(s.p * s.q * channels):
        at, to = (channel + e) * s.filters + in_filters, s.in_u + e * filters
        for k in range(9 if channels < s.channels else 0):  # a kernel that is made at once is near
            prefetch(weights, at + k * size + AHEAD * s.filters, filters)
        _transform(s.edge, weights, at, size, s.scaled, scale, in_filters, scratch, to, s.plane_u, filters)


@inner()
def _transform(edge, parts, at, size, scaled, scale, in_scale, u, to, plane, count):
    """G g G^T of some entries of the kernel, times the factors of their filters if they have some."""
    row = (edge + 2) * plane
    if scaled:
        scaled_sandwich(KERNEL, edge, parts, at, 3 * size, size, scale, in_scale, u, to, row, plane, count)
    else:
        sandwich(KERNEL, edge, parts, at, 3 * size, size, u, to, row, plane, count, None, False)
