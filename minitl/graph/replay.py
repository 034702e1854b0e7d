"""Passes that are run again launch by launch, without going through the steps: for inference on few and small inputs.

The first pass for inputs of some shapes is an ordinary one, the second is recorded (`kernels.recording`), and all later ones
play the recording: the same kernels on the same memory, but for the inputs, which are read where the caller has them, and the
outputs, which are copied. Weights are read where they lie, so a change in place counts; if a layer has got another array, the
recording is thrown away.

Only plans all of whose steps compute by launches alone are recorded, only where the pass needs little memory, and nothing when
the recording is in use by another thread: that one walks through the steps, as the first pass does. The results are the
same to the bit.

A large batch goes through the network in parts, one after another, so small that what a layer writes is still in the caches
when the next one reads it. Since a sample's result does not depend on its company, these are the same bits, too.
"""

from __future__ import annotations

import itertools
import math
import operator
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from minitl.activations import NAMED
from minitl.backend import engine
from minitl.graph.plan import Step
from minitl.graph.run import Run
from minitl.graph.steps import LayerStep
from minitl.graph.together import (
    Folded,
    Fused,
    FusedNormalization,
    GeluNormalization,
    Joined,
    PaddedDepthwise,
    PaddedPooling,
    Separable,
)
from minitl.layers.activations import Activation, ReLU, Softmax
from minitl.layers.conv import Conv2D
from minitl.layers.core import Dense, Dropout, Flatten
from minitl.layers.depthwise import DepthwiseConv2D, SeparableConv2D
from minitl.layers.merging import Add, Concatenate, Multiply
from minitl.layers.normalization import BatchNormalization
from minitl.layers.pooling import AveragePooling2D, GlobalAveragePooling2D, GlobalMaxPooling2D, MaxPooling2D
from minitl.layers.random_images import RandomContrast, RandomFlip, RandomRotation, RandomTranslation, RandomZoom
from minitl.layers.regularization import AlphaDropout, GaussianDropout, GaussianNoise, SpatialDropout1D, SpatialDropout2D
from minitl.layers.reshaping import ChannelPadding, Reshape, ZeroPadding2D
from minitl.layers.scaling import Normalization, Rescaling

LARGEST = 1 << 26  # bytes of memory that the recorded passes of a plan may keep
MANY = 4  # shapes of inputs per plan to remember
SEEN = "seen"
ALONE = {  # layers that compute by launches alone when they run by themselves
    Conv2D, Dense, DepthwiseConv2D, SeparableConv2D, BatchNormalization, Activation, ReLU, Softmax, Dropout, Flatten, Reshape,
    Add, Multiply, Concatenate, AveragePooling2D, MaxPooling2D, GlobalAveragePooling2D, GlobalMaxPooling2D, ChannelPadding,
    ZeroPadding2D, Rescaling, Normalization, RandomFlip, RandomRotation, RandomZoom, RandomTranslation, RandomContrast,
    GaussianNoise, GaussianDropout, SpatialDropout1D, SpatialDropout2D, AlphaDropout,
}  # fmt: skip
TOGETHER = {Folded, Fused, FusedNormalization, GeluNormalization, Joined, PaddedDepthwise, PaddedPooling, Separable}
COMPILED = {None, "linear", *NAMED} - {"exponential"}  # activations that do


def replays_of(steps: Iterable[Step]) -> Replays | None:
    """Where the passes of a plan are recorded, if all of its steps compute by launches alone."""
    steps = list(steps)
    alone = all(not step.training and (type(step) in TOGETHER or _is_plain(step)) for step in steps)
    return Replays(steps) if alone and not engine("launch").INTERPRETED else None


class Replays:
    """The recorded passes of a plan, by the shapes of the inputs."""

    training = False

    def __init__(self, steps: list[Step]) -> None:
        self.at_once = samples_at_once(steps, engine("processor").NEAR)
        self.lock = threading.Lock()  # a recording has its memory only once
        self.known: dict[tuple, Recorded | str | None] = {}  # None for what cannot be played, or would need too much memory

    def outputs(self, run: Run, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs for some inputs, which belong to the caller."""
        parts = self._parts(arrays)
        if len(parts) == 1:
            return self._outputs_at_once(run, arrays)
        made = [self._outputs_at_once(run, [array[part] for array in arrays]) for part in parts]
        return [np.concatenate(outputs) for outputs in zip(*made, strict=True)]

    def _parts(self, arrays: list[np.ndarray]) -> list[slice]:
        samples = {len(array) for array in arrays}
        most = max(samples)
        count = -(-most // self.at_once) if self.at_once and len(samples) == 1 else 1
        return [slice(k * most // count, (k + 1) * most // count) for k in range(max(count, 1))]

    def _outputs_at_once(self, run: Run, arrays: list[np.ndarray]) -> list[np.ndarray]:
        if not self.lock.acquire(False):
            return run.walk(arrays)
        try:
            shapes = tuple((array.shape, array.dtype) for array in arrays)
            known = self.known.get(shapes)
            if isinstance(known, Recorded):
                engine("pool").pool.rouse()  # while it is made sure that it may be played
                if known.is_current():
                    return known.play(arrays)
            if known is not None:
                return self._record(shapes, run, arrays)
            if shapes not in self.known:
                if len(self.known) == MANY:
                    self.known.pop(next(iter(self.known)))
                self.known[shapes] = SEEN
        finally:
            self.lock.release()
        return run.walk(arrays)

    def recorded_for(self, arrays: list[np.ndarray]) -> list[tuple[slice, Recorded]]:
        """What was recorded for inputs like these, and for which of their samples; empty if anything of it was not."""
        found = []
        for part in self._parts(arrays):
            known = self.known.get(tuple((array[part].shape, array.dtype) for array in arrays))
            if not isinstance(known, Recorded):
                return []
            found.append((part, known))
        return found

    def _record(self, shapes: tuple, run: Run, arrays: list[np.ndarray]) -> list[np.ndarray]:
        self.known.pop(shapes)
        self.known[shapes] = None  # as the latest
        layers = [layer for step in run.plan.steps for layer in step.layers]
        if not may_be_recorded(arrays, layers):
            return run.walk(arrays)
        recorded = Recorded(run, arrays, layers)
        if recorded.recording.size <= LARGEST:
            self.known[shapes] = recorded
            while sum(one.recording.size for one in self.known.values() if isinstance(one, Recorded)) > LARGEST:
                self.known.pop(next(iter(self.known)))
        return [y.copy() for y in recorded.outputs]


class Recorded:
    """One recorded pass: its inputs and outputs, and the weights that it reads."""

    def __init__(self, run: Run, arrays: list[np.ndarray], layers: list[Any]):
        self.layers = [layer for layer in layers if layer.parameters or layer.state]
        self.weights, self.recording = weights_of(self.layers), engine("recording").Recording()
        with self.recording:
            inputs = [copied_into(self.recording, array) for array in arrays]
            self.outputs = run.walk(inputs)
        self.places = [self._places(own) for own in inputs]
        self.inputs = [own if places is None else None for own, places in zip(inputs, self.places, strict=True)]
        direct = len(inputs) == len(self.outputs) == 1 and self.places[0] is not None
        self.rows = self.recording.rows_of(self.places[0]) if direct else None  # for a shortcut

    def is_current(self) -> bool:
        """Whether the layers still have the arrays that it reads."""
        return is_current(self.layers, self.weights)

    def play(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs for other inputs of the same shapes."""
        arrays = read_there(self.recording, self.inputs, self.places, arrays)  # held until it is over
        self.recording.play()
        return [y.copy() for y in self.outputs]

    def _places(self, own: np.ndarray) -> Any:
        """Where launches read an input, if they may read it in the caller's memory: an output may look into it, too."""
        if any(np.may_share_memory(own, y) for y in self.outputs):
            return None
        places = self.recording.places_of(own)
        if places is not None:
            self.recording.give_back(own)
        return places


def samples_at_once(steps: Iterable[Step], near: int) -> int | None:
    """How many samples a plan takes at once so that no step reads and writes more than so many bytes, or one of them.

    None is any number: where the weights, which are read again for every part, would cost a good share of what that saves.
    """
    weights = sum(array.nbytes for array in weights_of([layer for step in steps for layer in step.layers]))
    bytes_of = []
    for step in steps:
        values = {*step.takes, *step.gives}
        if any(None in value.shape[1:] for value in values):
            return None
        bytes_of.append(sum(math.prod(size or 1 for size in value.shape[1:]) * value.dtype.itemsize for value in values))
    at_once = max(1, near // max(bytes_of, default=1))
    return at_once if 3 * weights <= at_once * sum(bytes_of) else None


def copied_into(recording: Any, array: np.ndarray) -> np.ndarray:
    """A copy in a recording's memory."""
    own = recording.empty(array.shape, array.dtype)
    np.copyto(own, array)
    return own


def read_there(recording: Any, inputs: list[Any], places: list[Any], arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Let a recording read other inputs: where they are, or, where it cannot, copied into its own memory. What it returns has to
    stay alive until they have been read.
    """
    arrays = [array if array.flags.c_contiguous and array.flags.aligned else array.copy() for array in arrays]
    for own, known, array in zip(inputs, places, arrays, strict=True):
        if known is None:
            np.copyto(own, array)
        else:
            recording.point(known, array)
    return arrays


def may_be_recorded(arrays: list[np.ndarray], layers: list[Any]) -> bool:
    """Whether inputs and weights are as kernels take them: others are converted at every pass."""
    weights = weights_of(layers)
    dtypes = {array.dtype for array in (*arrays, *weights)} | {layer.dtype for layer in layers}
    return len(dtypes) == 1 == len({len(array) for array in arrays}) and all(array.flags.c_contiguous for array in weights)


def is_current(layers: list[Any], weights: list[np.ndarray]) -> bool:
    """Whether layers still have the same arrays."""
    return hold(dictionaries_of(layers), weights)


def hold(dictionaries: Iterable[dict[str, np.ndarray]], weights: list[np.ndarray]) -> bool:
    """Whether dictionaries still have the same arrays."""
    # Asked in front of every pass that is played: without a line of Python per layer.
    now = list(itertools.chain.from_iterable(map(dict.values, dictionaries)))
    return len(now) == len(weights) and all(map(operator.is_, now, weights))


def dictionaries_of(layers: list[Any]) -> Iterable[dict[str, np.ndarray]]:
    """What layers keep their parameters and states in."""
    return itertools.chain(map(operator.attrgetter("parameters"), layers), map(operator.attrgetter("state"), layers))


def weights_of(layers: list[Any]) -> list[np.ndarray]:
    """The parameters and the states of some layers."""
    return list(itertools.chain.from_iterable(map(dict.values, dictionaries_of(layers))))


def adds_alike(step: LayerStep) -> bool:
    """Whether a sum is of inputs of one known shape: what has to be stretched is the book's."""
    return len(set(step.shapes)) == 1 and None not in step.shapes[0][1:]


def _is_plain(step: Step) -> bool:
    layer = step.layers[0]
    if type(step) is not LayerStep or type(layer) not in ALONE or layer.activation not in COMPILED:
        return False
    if type(layer) is Add:
        return adds_alike(step)
    return type(layer) is not Conv2D or layer.is_plain
