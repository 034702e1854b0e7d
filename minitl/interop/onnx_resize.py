"""ONNX's Resize and Upsample: a layer for whole factors and nearest neighbours, products with matrices for all else."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from minitl import layers
from minitl.interop.onnx_arrays import allow, along
from minitl.interop.onnx_tensors import Attributes, as_image, as_plain, evaluated


def resize(reader: Any, node: Any, a: Attributes) -> Any:
    """Resize and Upsample."""
    x = reader.image(reader.tensors[node.input[0]])
    scales = a.get("scales") or reader.known(node, 1 if node.op_type == "Upsample" or reader.opset < 11 else 2)
    sizes = reader.known(node, 3)
    if sizes is not None and len(sizes) == len(x.shape) == 4 and None not in x.shape[1:3]:
        scales = [1.0, 1.0, *(n / m for n, m in zip(sizes[2:], x.shape[1:3], strict=True))]
    whole = [] if scales is None else [int(s) for s in scales]
    exact = len(whole) == len(x.shape) == 4 and all(w == s for w, s in zip(whole, scales, strict=True))
    repeats = exact and "axes" not in a and whole[:2] == [1, 1] and min(whole) >= 1 and _repeats(a, whole)
    if repeats or node.op_type == "Upsample" or reader.opset < 11:
        if not repeats:
            raise ValueError(f"mode {a.get('mode', 'nearest')!r} by {scales}; nearest by whole numbers over the image is known")
        return as_image(layers.UpSampling2D((whole[2], whole[3]))(x))
    return _by_matrices(reader, node, a)


def _repeats(a: Attributes, whole: list[int]) -> bool:
    """Whether every pixel is repeated so many times."""
    mode, rounding = a.get("coordinate_transformation_mode", "half_pixel"), a.get("nearest_mode", "round_prefer_floor")
    if a.get("mode", "nearest") != "nearest" or mode not in ("half_pixel", "half_pixel_symmetric", "asymmetric"):
        return False
    if mode == "asymmetric":
        return rounding == "floor" or (max(whole) <= 2 and rounding == "round_prefer_floor")
    return rounding not in ("ceil", "floor")


def _by_matrices(reader: Any, node: Any, a: Attributes) -> Any:
    """Resize in any mode: along each axis a product with a matrix, which the standard's definition gives."""
    x = reader.plain(reader.tensors[node.input[0]])
    rank, roi, scales, sizes = len(x.shape), *(reader.known(node, place) for place in (1, 2, 3))
    places = [int(n) % rank for n in a.get("axes", range(rank))]
    lengths = [x.shape[axis] for axis in places]
    policy, value = a.get("keep_aspect_ratio_policy", "stretch"), a.get("extrapolation_value", 0.0)
    settings = {key: a[key] for key in a if key not in ("axes", "keep_aspect_ratio_policy", "extrapolation_value")}
    crops = settings.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if crops and roi is None:
        raise ValueError("coordinates 'tf_crop_and_resize' need a region")
    parts = list(zip(roi[: len(places)], roi[len(places) :], strict=True)) if crops else [(0.0, 1.0)] * len(places)
    rounded = False
    if policy != "stretch":
        scales, rounded = _one_scale(policy, lengths, sizes)
    seen = [np.ones(1, np.float32)] * rank  # along each axis 0 where an output lies outside the image
    for k, axis in enumerate(places):
        by_scale, n = scales is not None and len(scales) > 0, lengths[k]
        alike = scales[k] == 1 if by_scale else sizes[k] == (n or reader.batch.get(node.input[0], -1))
        if alike and parts[k] == (0.0, 1.0):
            continue
        if axis == 0 or n is None:
            raise ValueError(f"another size along axis {axis}, whose size is open")
        if rounded:
            allow(n * math.prod(lengths))
            pixels = np.moveaxis(np.broadcast_to(np.eye(n, dtype=np.float32), (*lengths[:k], *lengths[k + 1 :], n, n)), -2, 0)
            whole = {**settings, "axes": list(range(1, 1 + len(places))), "keep_aspect_ratio_policy": policy}
            made = _resized(reader, whole, np.moveaxis(pixels, -1, 1 + k), None, sizes=sizes)
            matrix = np.moveaxis(made, 1 + k, 1).reshape(n, made.shape[1 + k], -1)[:, :, 0]
        else:
            allow(n * int(n * scales[k] if by_scale else sizes[k]))
            by: dict[str, Any] = {"scales": [1, scales[k]]} if by_scale else {"sizes": [n, sizes[k]]}
            region = [0, parts[k][0], 1, parts[k][1]] if crops else None
            matrix = _resized(reader, settings, np.eye(n, dtype=np.float32), region, **by)
            if value and crops:
                marked = {**settings, "extrapolation_value": 1.0}
                ones = _resized(reader, marked, np.eye(n, dtype=np.float32), region, **by)
                seen[axis] = np.all(ones == matrix, axis=0).astype(np.float32)
        x = along(x, axis, matrix.T)
    inside = functools.reduce(np.multiply.outer, seen)
    return as_plain(x if inside.all() else np.add(x, value * (1 - inside)))


def _resized(reader: Any, settings: Attributes, x: np.ndarray, roi: Any, scales: Any = None, sizes: Any = None) -> np.ndarray:
    """An array resized by the standard's own definition."""
    kinds = {"roi": np.float32, "scales": np.float32, "sizes": np.int64}
    given = {"x": np.ascontiguousarray(x)}
    for name, array in (("roi", roi), ("scales", scales), ("sizes", sizes)):
        if array is not None:
            given[name] = np.asarray(array, kinds[name])
    names = [name if name in given else "" for name in ("x", "roi", "scales", "sizes")]
    found: np.ndarray = evaluated(reader, reader.onnx.helper.make_node("Resize", names, ["y"], **settings), given)[0]
    return found


def _one_scale(policy: str, lengths: list[Any], sizes: Any) -> tuple[list[float], bool]:
    """The same scale for all axes, so that nothing is larger than asked for, or nothing smaller; whether sizes are rounded up."""
    if None in lengths:
        raise ValueError(f"the policy {policy!r} needs known sizes")
    found = [size / n for size, n in zip(sizes, lengths, strict=True)]
    scale = min(found) if policy == "not_larger" else max(found)
    return [scale] * len(lengths), any(int(scale * n) != int(scale * n + 0.5) for n in lengths)
