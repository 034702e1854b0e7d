"""Functions of values that go over axes, cut, turn and join tensors, as operators of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.interop.onnx_called import WHOLE, Called
from minitl.interop.onnx_layers import Tensor

FARTHEST = 2**31 - 1  # an index beyond every end


def _joined(called: Called) -> str:
    axis, parts = int(called.setting("axis", 0)), called.operands[0]
    called.operands = list(parts)
    names = [called.name(place) for place in range(len(parts))]
    if called.function == "stack":
        names = [called.node("Unsqueeze", name, called.w.whole([axis])) for name in names]
    return called.node("Concat", *names, axis=axis)


def _axes_of(called: Called) -> list[int]:
    given = called.setting("axis")
    return list(range(called.axes())) if given is None else [int(axis) % called.axes() for axis in np.atleast_1d(given)]


def _reduced(kind: str) -> Callable[[Called], str]:
    def write(called: Called) -> str:
        return called.w.reduced(kind, called.name(), called.keepdims(), _axes_of(called))

    return write


def _spread(called: Called) -> str:
    """The variance, or its root."""
    axes, keep, x = _axes_of(called), called.keepdims(), called.name()
    apart = called.node("Sub", x, called.w.reduced("ReduceMean", x, 1, axes))
    variance = called.w.reduced("ReduceMean", called.node("Mul", apart, apart), keep, axes)
    return called.node("Sqrt", variance) if called.function == "std" else variance


def _length(called: Called) -> str:
    """The root of the sum of squares."""
    axis, keep = called.setting("axis"), called.keepdims()
    if axis is None or np.ndim(axis) or called.setting("ord") not in (None, 2):
        raise called.refused()
    squares = called.node("Mul", called.name(), called.name())
    return called.node("Sqrt", called.w.reduced("ReduceSum", squares, keep, [int(axis)]))


def _holds(called: Called) -> str:
    """Whether all of some numbers, or any of them, are not 0; or how many."""
    there = called.as_number(called.as_truth(called.name()))
    kind = {"all": "ReduceMin", "any": "ReduceMax", "count_nonzero": "ReduceSum"}[called.function]
    return called.w.reduced(kind, there, called.keepdims(), _axes_of(called))


def _extreme_place(called: Called) -> str:
    axis, keep = called.setting("axis"), called.keepdims()
    if axis is None:
        raise called.refused()
    kind = "ArgMax" if called.function == "argmax" else "ArgMin"
    return called.as_number(called.node(kind, called.name(), axis=int(axis), keepdims=keep))


def _running_sum(called: Called) -> str:
    axis = called.setting("axis")
    if axis is None:
        raise called.refused()
    return called.node("CumSum", called.name(), called.w.whole(int(axis)))


def _cut(called: Called) -> str:
    """x[...]: slices and single places at once, then listed places, then axes that go or come."""
    index = called.operands[1]
    items = [_plain(item) for item in (index if isinstance(index, tuple) else [index])]
    if any(isinstance(item, (Tensor, bool)) or (isinstance(item, np.ndarray) and item.dtype.kind not in "iu") for item in items):
        raise called.refused()
    rest = called.axes() - sum(item is not None and item is not Ellipsis for item in items)
    at = next((place for place, item in enumerate(items) if item is Ellipsis), len(items))
    items[at : at + 1] = [slice(None)] * rest
    old = [item for item in items if item is not None]
    x, single = called.name(), [axis for axis, item in enumerate(old) if isinstance(item, int)]
    cuts = [(axis, *_ends(item)) for axis, item in enumerate(old) if isinstance(item, int) or _shortens(item)]
    if cuts:
        axes, starts, ends, steps = (called.w.whole([cut[part] for cut in cuts]) for part in range(4))
        x = called.node("Slice", x, starts, ends, axes, steps)
    listed = [(axis, item) for axis, item in enumerate(old) if isinstance(item, np.ndarray)]
    if len(listed) > 1 or (listed and (single or len(old) < len(items))):
        raise called.refused()  # such places are paired
    for axis, places in listed:
        x = called.node("Gather", x, called.w.whole(places), axis=axis)
    if single:
        x = called.node("Squeeze", x, called.w.whole(single))
    new = [axis for axis, item in enumerate(item for item in items if not isinstance(item, int)) if item is None]
    return called.node("Unsqueeze", x, called.w.whole(new)) if new else x


def _plain(item: Any) -> Any:
    """Listed places as an array, and a single one as a number of Python's."""
    return np.asarray(item) if isinstance(item, list) else int(item) if isinstance(item, np.integer) else item


def _shortens(item: Any) -> bool:
    return isinstance(item, slice) and item != slice(None)


def _ends(item: Any) -> tuple[int, int, int]:
    """Where a slice or a single place begins and ends, and its step."""
    if isinstance(item, int):
        return item, item + 1 or FARTHEST, 1
    step = 1 if item.step is None else int(item.step)
    first, last = (0, FARTHEST) if step > 0 else (FARTHEST, -FARTHEST)
    return (first if item.start is None else int(item.start), last if item.stop is None else int(item.stop), step)


def _reshape(called: Called) -> str:
    shape = called.setting("newshape", called.setting("shape"))
    return called.node("Reshape", called.name(), called.w.whole(np.atleast_1d(shape)))


def _transpose(called: Called) -> str:
    given, axes = called.setting("axes"), called.axes()
    order = range(axes)[::-1] if given is None else [int(axis) % axes for axis in given]
    return called.node("Transpose", called.name(), perm=list(order))


def _moved(called: Called) -> str:
    """Axes that go to other places; the rest keep their order."""
    names = ("axis1", "axis2") if called.function == "swapaxes" else ("source", "destination")
    first, second = ([int(axis) % called.axes() for axis in np.atleast_1d(called.setting(name))] for name in names)
    if called.function == "swapaxes":
        first, second = first + second, second + first
    moved = dict(zip(second, first, strict=True))  # what comes to a place
    rest = iter(axis for axis in range(called.axes()) if axis not in moved.values())
    order = [moved[place] if place in moved else next(rest) for place in range(called.axes())]
    return called.node("Transpose", called.name(), perm=order)


def _expanded(called: Called) -> str:
    given = np.atleast_1d(called.setting("axis"))
    return called.node("Unsqueeze", called.name(), called.w.whole(given))


def _squeezed(called: Called) -> str:
    ones = [axis for axis, length in enumerate(called.operands[0].shape) if length == 1]
    given = called.setting("axis")
    return called.node("Squeeze", called.name(), called.w.whole(ones if given is None else np.atleast_1d(given)))


def _broadcast(called: Called) -> str:
    return called.node("Expand", called.name(), called.w.whole(np.atleast_1d(called.setting("shape"))))


def _tiled(called: Called) -> str:
    repeats = [int(n) for n in np.atleast_1d(called.setting("repeats", called.setting("reps")))]
    x, missing = called.name(), len(repeats) - called.axes()
    if missing > 0:
        x = called.node("Unsqueeze", x, called.w.whole(list(range(missing))))
    return called.node("Tile", x, called.w.whole([1] * -missing + repeats))


def _rolled(called: Called) -> str:
    """What goes beyond the end of an axis comes in at its beginning: the end stands first, then what was before it."""
    axis, shift = called.setting("axis"), called.setting("shift")
    if axis is None or np.ndim(axis) or np.ndim(shift):
        raise called.refused()
    names, axes = [], called.w.whole([int(axis)])
    for part in (slice(-int(shift), None), slice(None, -int(shift))) if shift else (slice(None),):
        start, stop, _ = _ends(part)
        names.append(called.node("Slice", called.name(), called.w.whole([start]), called.w.whole([stop]), axes))
    return called.node("Concat", *names, axis=int(axis))


def _places_in_order(called: Called) -> str:
    """The places of as many smallest numbers as there are, which is their order."""
    axis = called.setting("axis", -1)
    called.setting("kind")  # ONNX's order is stable
    length = None if axis is None else called.operands[0].shape[axis]
    if length is None:
        raise called.refused()
    count = called.w.whole([length])
    places = called.w.outputs_of("TopK", [called.name(), count], 2, axis=int(axis), largest=0)[1]
    return called.as_number(places)


def _taken_along(called: Called) -> str:
    axis = called.setting("axis", called.operands[2] if len(called.operands) > 2 else None)
    if axis is None:
        raise called.refused()
    places = called.node("Cast", called.name(1), to=WHOLE)
    return called.node("GatherElements", called.name(), places, axis=int(axis))


def _repeated(called: Called) -> str:
    """Each entry along an axis several times: by their places."""
    repeats, axis = called.setting("repeats"), called.setting("axis")
    length = None if axis is None else called.operands[0].shape[axis]
    if length is None:
        raise called.refused()
    return called.node("Gather", called.name(), called.w.whole(np.repeat(np.arange(length), repeats)), axis=int(axis))


def _flipped(called: Called) -> str:
    axes = _axes_of(called)
    starts, ends, steps = ([number] * len(axes) for number in (FARTHEST, -FARTHEST, -1))
    return called.node("Slice", called.name(), *map(called.w.whole, (starts, ends, axes, steps)))


def _taken(called: Called) -> str:
    axis, places = called.setting("axis"), called.operands[1]
    if axis is None or isinstance(places, Tensor):
        raise called.refused()
    return called.node("Gather", called.name(), called.w.whole(places), axis=int(axis))


WRITERS: dict[str, Callable[[Called], str]] = {
    **{name: _reduced(kind) for name, kind in {
        "mean": "ReduceMean", "sum": "ReduceSum", "max": "ReduceMax", "amax": "ReduceMax", "min": "ReduceMin",
        "amin": "ReduceMin", "prod": "ReduceProd", "average": "ReduceMean",
    }.items()},
    **dict.fromkeys(("var", "std"), _spread), **dict.fromkeys(("all", "any", "count_nonzero"), _holds),
    **dict.fromkeys(("argmax", "argmin"), _extreme_place), **dict.fromkeys(("concatenate", "stack"), _joined),
    **dict.fromkeys(("swapaxes", "moveaxis"), _moved),
    "argsort": _places_in_order, "broadcast_to": _broadcast, "cumsum": _running_sum, "expand_dims": _expanded, "flip": _flipped,
    "getitem": _cut, "norm": _length, "repeat": _repeated, "reshape": _reshape, "roll": _rolled, "squeeze": _squeezed,
    "take": _taken, "take_along_axis": _taken_along, "tile": _tiled, "transpose": _transpose,
}  # fmt: skip
