"""Training passes that are run again launch by launch: forward, and backward behind it.

As in `replay`, a pass is recorded when it comes for the second time, here in two halves, and between the two the caller computes
the loss. Outputs and gradients are views of the recording's memory. As long as somebody holds one of them, or a run that may
still go back, the recording is left alone, and other passes walk through their steps; so they do where inputs have another shape
than those before them, as the last batch of an epoch. The results are the same to the bit.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

from minitl.backend import engine, get_backend
from minitl.graph.plan import Step
from minitl.graph.replay import COMPILED, adds_alike, copied_into, is_current, may_be_recorded, read_there, weights_of
from minitl.graph.run import Run
from minitl.graph.steps import JointStep, LayerStep
from minitl.graph.together import Fused, FusedNormalization, GeluNormalization, PaddedDepthwise
from minitl.layers.activations import Activation, ReLU, Softmax
from minitl.layers.conv import Conv2D
from minitl.layers.conv_transpose import Conv2DTranspose
from minitl.layers.core import Dense, Dropout, Flatten
from minitl.layers.depthwise import DepthwiseConv2D, SeparableConv2D
from minitl.layers.merging import Add, Concatenate, Multiply
from minitl.layers.normalization import BatchNormalization
from minitl.layers.pooling import AveragePooling2D, GlobalAveragePooling2D, GlobalMaxPooling2D, MaxPooling2D
from minitl.layers.regularization import SpatialDropout1D, SpatialDropout2D
from minitl.layers.reshaping import ChannelPadding, Reshape, UpSampling2D, ZeroPadding2D
from minitl.layers.scaling import Normalization, Rescaling

MANY = 4  # shapes of inputs per plan to remember
PATIENCE = 3  # times that a pass is recorded in vain
ALONE = {  # layers that compute by launches alone, forward and backward
    Conv2D, Dense, DepthwiseConv2D, SeparableConv2D, BatchNormalization, Activation, ReLU, Softmax, Dropout, Flatten, Reshape,
    SpatialDropout1D, SpatialDropout2D, Conv2DTranspose, UpSampling2D, Add, Multiply, Concatenate, AveragePooling2D, MaxPooling2D,
    GlobalAveragePooling2D, GlobalMaxPooling2D, ChannelPadding, ZeroPadding2D,
}  # fmt: skip
FORWARD = {Rescaling, Normalization}  # only forward
TOGETHER = {Fused, FusedNormalization, GeluNormalization, PaddedDepthwise}

_all: weakref.WeakSet[RecordedStep] = weakref.WeakSet()  # of all plans
_lock = threading.Lock()  # held by whoever looks at them
_passes = itertools.count()


def training_replays_of(steps: Iterable[Step]) -> TrainingReplays | None:
    """Where the training passes of a plan are recorded, if all of its steps compute by launches alone."""
    alone = all(type(step) in TOGETHER or _is_plain(step) for step in steps)
    return TrainingReplays() if alone and not engine("launch").INTERPRETED else None


class TrainingReplays:
    """The recorded training passes of a plan, by the shapes of the inputs."""

    training = True

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.before: Any = None  # the shapes of the pass before, and its number among all passes
        self.number = 0
        self.known: dict[tuple, RecordedStep | None] = {}  # None for what is not recorded
        self.halves = 0  # passes that were recorded, and from which nobody went back: a loss that is not finite, an interrupt

    def outputs(self, run: Run, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs for some inputs."""
        if not self.lock.acquire(False):
            return run.walk(arrays, True)
        try:
            shapes = tuple((array.shape, array.dtype) for array in arrays)
            again, self.before = shapes == self.before, shapes
            since, self.number = self.number, next(_passes)
            known = self.known.get(shapes)
            if known is not None:
                if known.is_in_use():
                    return run.walk(arrays, True)
                if known.is_ready():
                    return known.forward(run, arrays)
                self.known.pop(shapes)
                self.halves += known.is_half()
                if self.halves == PATIENCE:  # nobody ever goes back
                    self.known[shapes] = None
            elif again and shapes not in self.known:
                return self._record(shapes, run, arrays, since)
        finally:
            self.lock.release()
        return run.walk(arrays, True)

    def _record(self, shapes: tuple, run: Run, arrays: list[np.ndarray], since: int) -> list[np.ndarray]:
        layers = [layer for step in run.plan.steps for layer in step.layers]
        if len(self.known) == MANY:
            self.known.pop(next(iter(self.known)))
        self.known[shapes] = None
        if not may_be_recorded(arrays, layers):
            return run.walk(arrays, True)
        _drop(0, since)
        try:
            step = RecordedStep(run, arrays, layers, self.lock)
        except BaseException:
            self.known.pop(shapes)
            raise
        if step.recording.size > engine("memory").SHELF_LIMIT:
            return step.outputs
        self.known[shapes] = step
        _drop(step.recording.size)
        return step.hand_over(run, arrays)


class RecordedStep:
    """A recorded training pass: its two halves, the caches between them, and who uses them.

    `lock` is held by whoever plays the forward half; after that the pass belongs to the run that it was handed over to.
    """

    def __init__(self, run: Run, arrays: list[np.ndarray], layers: list[Any], lock: Any):
        self.layers = [layer for layer in layers if layer.parameters or layer.state]
        self.weights, self.recording, self.lock = weights_of(self.layers), engine("recording").Recording(), lock
        with self.recording:
            self.inputs = [copied_into(self.recording, array) for array in arrays]
            self.outputs = run.walk(self.inputs, True)
        self.caches, self.logits, self.middle = run.caches, run.logits, len(self.recording.parts)
        self.places: list[Any] = [None] * len(arrays)
        self.gradients: Any = None  # as soon as somebody has gone back
        self.arrived: list[np.ndarray | None] = []  # the gradients of the outputs
        self.dx: list[np.ndarray | None] = []
        self.watches = [engine("memory").Watch([*self.outputs, *self.logits.values()])]

    def hand_over(self, run: Run, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs, to a run that may go back."""
        self.run, self.went_back, self.last_used = weakref.ref(run), False, next(_passes)
        run.recorded, run.caches, run.arrays = self, self.caches, arrays
        run.logits = {position: z.view() for position, z in self.logits.items()}
        with _lock:
            _all.add(self)
        return [y.view() for y in self.outputs]

    def is_in_use(self) -> bool:
        """Whether a run may still go back, or somebody holds what was computed."""
        return self.run() is not None or any(watch.sees_more() for watch in self.watches)

    def is_ready(self) -> bool:
        """Whether it can be played: it is whole, and the layers still have the arrays that it reads."""
        return self.gradients is not None and is_current(self.layers, self.weights)

    def is_half(self) -> bool:
        """Whether nobody went back."""
        return self.recording is not None and self.gradients is None

    def forward(self, run: Run, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs for other inputs of the same shapes."""
        engine("pool").pool.rouse()
        arrays = read_there(self.recording, self.inputs, self.places, arrays)
        self.recording.play(0, self.middle)
        return self.hand_over(run, arrays)

    def backward(self, run: Run, gradients: list[np.ndarray | None]) -> list[np.ndarray | None]:
        """The gradients of the inputs; those of the layers become the run's."""
        if not self.went_back and run.tell is None and get_backend() == "numba":
            self.went_back = True
            if self.gradients is None:
                return self._record_backward(run, gradients)
            if [_kind(g) for g in gradients] == [_kind(g) for g in self.arrived]:
                for mine, gradient in zip(self.arrived, gradients, strict=True):
                    if mine is not None and gradient is not None:
                        np.copyto(mine, gradient)
                self.recording.play(self.middle)
                return self._own(run)
        for own, array in zip(self.inputs, run.arrays, strict=True):  # the caches have what was recorded first
            np.copyto(own, array)
        return run.walk_back(gradients)

    def _record_backward(self, run: Run, gradients: list[np.ndarray | None]) -> list[np.ndarray | None]:
        with self.recording:
            self.arrived = [None if g is None else copied_into(self.recording, g) for g in gradients]
            self.dx = run.walk_back(self.arrived)
        found = [g for named in run.gradients.values() for g in named.values()] + [g for g in self.dx if g is not None]
        self.watches.append(engine("memory").Watch(found))
        for number, own in enumerate(self.inputs):
            if not any(np.may_share_memory(own, array) for array in (*found, *self.outputs)):
                self.places[number] = self.recording.places_of(own)
        self.gradients = run.gradients
        return self._own(run)

    def _own(self, run: Run) -> list[np.ndarray | None]:
        views = {layer: {name: g.view() for name, g in named.items()} for layer, named in self.gradients.items()}
        run.gradients = views
        return [None if g is None else g.view() for g in self.dx]

    def drop(self) -> None:
        """Give the memory back, unless it is in use."""
        if self.lock.acquire(False):
            try:
                if not self.is_in_use():
                    recording = self.recording
                    self.recording = self.caches = self.gradients = None
                    self.watches, self.inputs, self.outputs, self.logits, self.arrived, self.dx = [], [], [], {}, [], []
                    recording.put_on_the_shelf()
            finally:
                self.lock.release()


def _drop(size: int, since: int = 0) -> None:
    """Drop what was not used since some pass, for another training has replaced it; and, those first that were not used for the
    longest time, what together with so many bytes is too much.
    """
    with _lock:
        steps = sorted((step for step in _all if step.recording), key=lambda step: step.last_used)
    size += sum(step.recording.size for step in steps)
    for step in steps:
        if step.last_used < since or size > engine("memory").SHELF_LIMIT:
            size -= step.recording.size
            step.drop()


def _kind(gradient: np.ndarray | None) -> Any:
    return None if gradient is None else (gradient.shape, gradient.dtype)


def _is_plain(step: Step) -> bool:
    if not isinstance(step, LayerStep) or type(step) not in (LayerStep, JointStep):
        return False
    layer = step.layer
    if layer.activation not in COMPILED:
        return False
    if type(layer) in FORWARD:
        return not step.keep
    if type(layer) is Add:
        return adds_alike(step)
    if type(layer) is UpSampling2D:
        return layer.interpolation == "nearest"
    if type(layer) is Reshape:
        return not layer.channels_first
    return type(layer) in ALONE and (type(layer) is not Conv2D or layer.is_plain)
