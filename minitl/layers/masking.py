"""Steps of a sequence that are left out: who marks them, and how the layers that leave them out get to know of them.

Such a layer takes steps of zeros for those that are left out, which a `LeaveOut` in front of it makes; behind a `Masking` they
are zeros already. All other layers see what the steps hold.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minitl.errors import check_numbers
from minitl.graph.plan import Need
from minitl.graph.value import Shape, Value, values_in
from minitl.layers.base import Layer
from minitl.layers.core import Dropout, Identity
from minitl.layers.embedding import Embedding
from minitl.layers.normalization import UnitNormalization
from minitl.layers.regularization import GaussianDropout, SpatialDropout1D

Marks = tuple[tuple[Any, Value], ...]  # layers that mark steps, and what each looks at

KEEPS_ZEROS = (Dropout, GaussianDropout, Identity, SpatialDropout1D, UnitNormalization)  # zeros stay zeros behind these


class Masking(Layer):
    """Steps in which all numbers are `mask_value` become zeros, and are left out by the recurrent layers behind.

    Shapes: x and y (N, T, C).
    """

    def __init__(self, mask_value: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_numbers(self, "(-inf, inf)", mask_value=mask_value)
        self.mask_value = mask_value

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x, or zeros."""
        counts = counting_for(self, x)[..., None]
        return x * counts, counts

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dy where x was taken."""
        return dy * cache, {}

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Where something else than `mask_value` is."""
        return counting_for(self, np.asarray(inputs))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


class LeaveOut(Layer):
    """Zeros where a step does not count.

    Formula: y[n, t] = x[n, t] if source[n, t] is not `mask_value`, else 0; a step that counts and is 0 gets the smallest number
    there is as its first entry, so that it is not left out as well.
    Parameters: `mask_value` is what says that a step does not count: 0 of word numbers, all entries of a step of others; of
    several sources it is a list, and a step counts if it does in one of them.
    Shapes: x (N, T, ...) and each source (N, T) or (N, T, C), y as x.
    """

    takes_several = keeps_integers = supports_masking = passes_mask = True

    def __init__(self, mask_value: float | Sequence[float] = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.mask_value = mask_value
        for value in self.mask_values:
            check_numbers(self, "(-inf, inf)", mask_value=value)

    @property
    def mask_values(self) -> Sequence[float]:
        """One for each source."""
        return self.mask_value if isinstance(self.mask_value, (list, tuple)) else [self.mask_value]  # type: ignore[list-item]

    def counting(self, x: list[np.ndarray]) -> np.ndarray:
        """Which steps count, (N, T, 1, ...) with as many axes as the values have."""
        pairs = zip(x[1:], self.mask_values, strict=True)
        counts = np.logical_or.reduce([counting(source, value, source.ndim == x[0].ndim) for source, value in pairs])
        return counts.reshape(counts.shape + (1,) * (x[0].ndim - 2))

    def compute(self, x: list[np.ndarray], training: bool) -> tuple[np.ndarray, Any]:
        """x with zeros."""
        counts = self.counting(x)
        y = np.where(counts, x[0], np.zeros((), x[0].dtype))
        silent = counts.reshape(y.shape[:2]) & ~y.any(axis=tuple(range(2, y.ndim)))
        first_entry: Any = (silent, *[0] * (y.ndim - 2))
        y[first_entry] = np.finfo(y.dtype).tiny
        return y, counts

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[Any, dict[str, np.ndarray]]:
        """dy where a step counts."""
        return (dy * cache, *[None for _ in self.mask_values]), {}

    def output_dtype(self, dtypes: list[np.dtype]) -> np.dtype:
        """That of the values."""
        return dtypes[0]

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """That of the values."""
        return input_shape[0]


class CountAsOne(LeaveOut):
    """Ones where a step does not count, so that a product does not depend on it.

    Formula: y[n, t] = x[n, t] if source[n, t] is not `mask_value`, else 1.
    Shapes: as those of a `LeaveOut`.
    """

    passes_mask = False

    def compute(self, x: list[np.ndarray], training: bool) -> tuple[np.ndarray, Any]:
        """x with ones."""
        counts = self.counting(x)
        return np.where(counts, x[0], np.ones((), x[0].dtype)), counts


class LeaveOutMasked(LeaveOut):
    """Zeros where a mask is false that a call was given: `layer(x, mask=mask)`.

    Formula: y[n, t] = x[n, t] if mask[n, t], else 0, as a `LeaveOut` of the mask has it.
    Shapes: x (N, T, ...), mask (N, T), y as x.
    """


class LeavesOut(Layer):
    """What layers share that leave out steps of their first input: `masked` says whether there are any."""

    masked = False

    def __call__(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """y; steps where `mask` (N, T) is false are left out."""
        if mask is None:
            return super().__call__(x, training)
        with leaving_out([self], x):
            return super().__call__(without_steps(x, mask), training)

    def leave_out(self, values: list[Value]) -> list[Value]:
        """The first with zeros at the steps that are left out."""
        return [left_out(values[0]), *values[1:]]

    def notice_marks(self, values: list[Value]) -> None:
        """Leave out what is left out of the first value."""
        self.masked = self.masked or leaves_out_steps(values[0])


def counting(x: np.ndarray, mask_value: float, in_rows: bool) -> np.ndarray:
    """Which steps count: of numbers, or of rows of them."""
    counts = x != mask_value
    return counts.any(axis=-1) if in_rows else counts


def counting_for(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Which steps count for a layer that marks them."""
    return counting(x, layer.mask_value, True) if isinstance(layer, Masking) else counting(x, 0, False)


@contextlib.contextmanager
def leaving_out(layers: Sequence[Any], x: Any) -> Iterator[None]:
    """Let layers leave out steps while they are called: in a network from now on, on arrays for this call alone."""
    before = [layer.masked for layer in layers]
    for layer in layers:
        layer.masked = True
    try:
        yield
    finally:
        if values_in(x) is None:
            for layer, masked in zip(layers, before, strict=True):
                layer.masked = masked


def without_steps(x: Any, mask: Any) -> Any:
    """x, or the first of a list, with zeros at the steps where `mask` (N, T) is false: arrays or values."""
    if isinstance(x, (list, tuple)):
        return [without_steps(x[0], mask), *x[1:]]
    return LeaveOutMasked()([x, mask])


def left_out(value: Value) -> Value:
    """A value with zeros at the steps that are left out; the value itself where there are none, or they are zeros already."""
    return value if leaves_out_steps(value) else _replaced(LeaveOut, value, _marks_of_steps(value))


def left_out_inside(model: Layer, values: list[Value]) -> list[Value]:
    """What goes into a model: with zeros at the steps that are left out, if a layer inside leaves out any."""
    return [left_out(value) for value in values] if _leaves_out(model) else values


def tell_inside(graph: Any, values: list[Value]) -> None:
    """Let the layers of a model leave out what is left out of the values that come in.

    What marks the steps stands outside, and no `LeaveOut` inside can look at it. So recurrent layers give zeros where they leave
    out steps, if those that take them leave them out, too.
    """
    marked = [own.node.layer for value, own in zip(values, graph.inputs, strict=True) if leaves_out_steps(value)]
    for entry in marked:
        entry.passes_mask = True
    for node in graph.nodes if marked else ():
        for layer in getattr(node.layer, "both", [node.layer]):
            if getattr(layer, "return_sequences", False) and _only_left_out(graph, node.outputs[0]):
                layer.zero_output_for_mask = True
        node.layer.notice_marks(list(node.inputs))


def _only_left_out(graph: Any, value: Value) -> bool:
    takers = graph.consumers.get(value, [])
    passed = [_only_left_out(graph, taker.outputs[0]) for taker in takers if type(taker.layer) in KEEPS_ZEROS]
    others = [_leaves_out(taker.layer) for taker in takers if type(taker.layer) not in KEEPS_ZEROS]
    return bool(takers) and value not in graph.outputs and all(passed + others)


def _leaves_out(layer: Any) -> bool:
    if layer.is_container:
        return any(map(_leaves_out, layer.graph.layers))
    return type(layer).leave_out is not Layer.leave_out


def factors(values: list[Value]) -> list[Value]:
    """What is multiplied: where one of the values has no step to count, the others' product stands alone, as in Keras."""
    marks = [_marks_of_steps(value) for value in values]
    if all(marks) and len(set(marks)) == 1:
        return [left_out(values[0]), *values[1:]]
    return [_replaced(CountAsOne, value, own) for value, own in zip(values, marks, strict=True)]


def _marks_of_steps(value: Value) -> Marks:
    return () if len(value.shape) < 3 else marks_of(value)


def _replaced(kind: type[LeaveOut], value: Value, marks: Marks) -> Value:
    """A value with other numbers where no step counts for those who mark them."""
    if not marks:
        return value
    mask_values = [getattr(layer, "mask_value", 0.0) for layer, _ in marks]
    return kind(mask_values if len(marks) > 1 else mask_values[0])([value, *(source for _, source in marks)])


def marks_of(value: Value) -> Marks:
    """Who marks a value's steps, and what each looks at: a step counts if it does for one of them; without any, all count."""
    if value.index:  # a state
        return ()
    waiting = [value]
    while waiting:
        node = waiting[-1].node
        before = node.inputs if node.layer.is_container else standing_for(node.layer, node.inputs)
        if marks_steps(node.layer):
            node.marks = ((node.layer, node.inputs[0]),)
        elif not (hands_on(node.layer) or node.layer.is_container) or any(one.index for one in before):
            node.marks = ()
        elif unknown := [one for one in before if one.node.marks is None]:
            waiting += unknown
            continue
        elif node.layer.is_container:
            inside = node.layer.graph
            pairs = list(zip(inside.inputs, before, strict=True))
            found = {own: given.node.marks for own, given in pairs if given.node.marks}
            follow_marks(inside, found, dict(pairs))
            node.marks = found.get(inside.outputs[0], ())
        else:
            node.marks = merged_marks([one.node.marks for one in before])
        waiting.pop()
    marks: Marks = value.node.marks
    return marks


def follow_marks(graph: Any, found: dict[Value, Marks], whose: dict[Value, Value]) -> None:
    """Add to `found` who marks the steps of a graph's values; `whose` has what is looked at, by what it is called inside."""
    for node in graph.nodes:
        layer = node.layer
        if marks_steps(layer):
            if node.inputs[0] in whose:
                found[node.outputs[0]] = ((layer, whose[node.inputs[0]]),)
        elif layer.is_container:
            pairs = list(zip(layer.graph.inputs, node.inputs, strict=True))
            inside = {own: found[given] for own, given in pairs if given in found}
            follow_marks(layer.graph, inside, {own: whose[given] for own, given in pairs if given in whose})
            ends = zip(node.outputs, layer.graph.outputs, strict=True)
            found.update({value: inside[own] for value, own in ends if own in inside})
        elif hands_on(layer):
            found[node.outputs[0]] = merged_marks([found.get(value, ()) for value in standing_for(layer, node.inputs)])


def merged_marks(marks: Sequence[Marks]) -> Marks:
    """The marks of values that are merged: where all steps of one count, all do."""
    return tuple(dict.fromkeys(itertools.chain(*marks))) if all(marks) else ()


def hands_on(layer: Any) -> bool:
    """Whether the steps that a layer gives stand for those that it takes."""
    return layer.supports_masking or type(layer) in KEEPS_ZEROS


def standing_for(layer: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    """The inputs whose steps those of the output stand for: of an attention the query alone, of a sum all."""
    return inputs if layer.steps_of is None else inputs[layer.steps_of :][:1]


def marks_steps(layer: Layer) -> bool:
    """Whether a layer looks at its input for steps to leave out."""
    return isinstance(layer, Masking) or (isinstance(layer, Embedding) and layer.mask_zero)


def leaves_out_steps(value: Value) -> bool:
    """Whether steps of zeros stand for nothing in what a value will hold."""
    layer = value.node.layer
    if layer.is_container:
        return leaves_out_steps(layer.graph.outputs[value.node.outputs.index(value)])
    if type(layer) in KEEPS_ZEROS:
        return leaves_out_steps(value.node.inputs[0])
    return isinstance(layer, Masking) or bool(getattr(layer, "passes_mask", False))
