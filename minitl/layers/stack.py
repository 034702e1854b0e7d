"""Layers one after another, as a layer: how they are put together, and how gradients run back through them."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import numpy as np

from minitl.backend import get_backend
from minitl.errors import unknown, wrong_shape
from minitl.layers.base import Layer, Shape, default_name
from minitl.layers.core import InputLayer
from minitl.layers.fusion import Step, plan


class Stack(Layer):
    """Layers one after another.

    Formula: y = layer_n(... layer_1(x)).
    Layers are named by type and position (`conv2d`, `conv2d_1`, `dense`): the same program gives the same names.
    Errors: TypeError for what is no layer, ValueError for shapes or names that clash.
    """

    is_container = True

    def __init__(self, layers: list[Layer] | None = None, name: str | None = None):
        super().__init__(name=name)
        self._layers: list[Layer] = []
        self.fuse = self.fold = True  # whether layers may run as one, and normalisations become part of convolutions
        self._plans: dict[tuple, tuple[Any, list[Step]]] = {}
        self._steps: list[Step] | None = None
        for layer in layers or []:
            self.add(layer)

    # Building.

    def add(self, layer: Layer) -> None:
        """Put a layer on top; it is built at once when the shape that reaches it is known."""
        if not isinstance(layer, Layer):
            raise TypeError(f"add: expected a layer, got {layer!r}; is it a class, without its parentheses?")
        if isinstance(layer, InputLayer):
            if self._layers:
                raise ValueError("add: Input gives the shape of the data and must come first")
            self.declared_shape = layer.declared_shape
            return
        if layer is self or any(layer is other for other in self._layers):
            raise ValueError(f"add: {layer.label} is in this model already; make a second layer")
        self._name(layer)
        if not self._layers and self.declared_shape is None:
            self.declared_shape = layer.declared_shape or layer.input_shape
        reaches = self._layers[-1].output_shape if self._layers else self.declared_shape
        if reaches is not None:
            _fit_together(layer, reaches)
        self._layers.append(layer)
        self._update_shapes()

    def pop(self) -> Layer:
        """Take the top layer off and return it."""
        if not self._layers:
            raise ValueError("pop: the model has no layers")
        layer = self._layers.pop()
        self._update_shapes()
        return layer

    def build(self, input_shape: Any = None) -> None:
        """Create all parameters for inputs of a shape, the batch first: (None, 32, 32, 3)."""
        shape: Any = self.declared_shape if input_shape is None else tuple(input_shape)
        if not self._layers:
            raise ValueError("the model has no layers; add() some")
        if shape is None:
            raise ValueError("the input shape is not known; begin with Input(shape), or build((None, ...))")
        self.declared_shape = shape
        for layer in self._layers:
            _fit_together(layer, shape)
            shape = layer.output_shape
        self._update_shapes()

    def ensure_built(self, input_shape: Shape) -> None:
        """Build, if that has not been done."""
        if not self.built:
            self.build(self.declared_shape or input_shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """What comes out of the last layer."""
        for layer in self._layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    @property
    def layers(self) -> list[Layer]:
        """The layers, bottom first."""
        return list(self._layers)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name or its position.

        Errors: ValueError when there is no such layer.
        """
        if (name is None) == (index is None):
            raise ValueError("get_layer: give a name or an index")
        if index is not None:
            if not -len(self._layers) <= index < len(self._layers):
                raise ValueError(f"get_layer: index {index} is outside the {len(self._layers)} layers")
            return self._layers[index]
        for layer in self._layers:
            if layer.name == name:
                return layer
        raise unknown("layer", name, [str(layer.name) for layer in self._layers])

    # Forward and backward. The backward pass stops at the lowest layer that has something to train; below it, layers
    # are told to keep nothing.

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """y of the last layer."""
        return self.forward_logits(x, training)[1]

    def forward_logits(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, np.ndarray]:
        """What comes before the last activation, and y."""
        lowest = self._lowest(self.need_dx) if self.keep_cache else len(self._layers)
        for layer in self._layers[:lowest]:
            layer.keep_cache = layer.need_dx = False
        for layer in self._layers[lowest:]:
            layer.keep_cache = layer.need_dx = True
        if lowest < len(self._layers):
            self._layers[lowest].need_dx = self.need_dx
        self._steps = self._plan(fold=self.fold and not (training or self.keep_cache))
        for step, _, _ in self._steps[:-1]:
            x = step(x, training)
        last = self._steps[-1][0]
        if isinstance(last, Layer):
            return last.call_logits(x, training)
        y = last(x, training)
        return y, y

    def backward(self, dy: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """Fill the layers' gradients from dy; return dx if it is needed."""
        return self._backward(dy, need_dx, from_logits=False)

    def backward_logits(self, dz: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """The same, from the gradient of the logits."""
        return self._backward(dz, need_dx, from_logits=True)

    def _backward(self, dy: np.ndarray, need_dx: bool, from_logits: bool) -> np.ndarray | None:
        if self._steps is None:
            raise ValueError(f"{self.label}: backward() needs a forward pass before it")
        lowest = self._lowest(need_dx)
        gradient: Any = dy
        for step, first, last in reversed(self._steps):
            if last < lowest:
                break
            need = need_dx or first > lowest
            if from_logits and last == len(self._layers) - 1 and isinstance(step, Layer):
                gradient = step.pull(gradient, need, from_logits=True)
            else:
                gradient = step.pull(gradient, need)
        return gradient if need_dx else None

    def _plan(self, fold: bool) -> list[Step]:
        # Made anew only when layers or circumstances have changed.
        kind = (self.fuse, fold, get_backend())
        now = [*self._layers, *map(attrgetter("activation"), self._layers)]
        planned_for, steps = self._plans.get(kind, (None, []))
        if planned_for != now:
            steps = plan(self._layers, self.fuse, fold)
            self._plans[kind] = (now, steps)
        return steps

    def _lowest(self, need_dx: bool) -> int:
        if need_dx:
            return 0
        for position, layer in enumerate(self._layers):
            if layer.is_container:
                if any(leaf.trainable and leaf.parameters for _, leaf in layer.walk()):
                    return position
            elif layer.trainable and layer.parameters:
                return position
        return len(self._layers)

    def mode(self, keep_cache: bool, need_dx: bool) -> Mode:
        """Whether forward passes inside a `with` block keep what a backward pass needs, down to the input or not."""
        return Mode(self, keep_cache, need_dx)

    @property
    def output_activation(self) -> str | None:  # type: ignore[override]
        """The last layer's."""
        return self._layers[-1].output_activation if self._layers else None

    # Parameters. A container has none of its own.

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Every layer with its path, containers opened."""
        for layer in self._layers:
            if layer.is_container:
                yield from layer.walk(f"{prefix}{layer.name}/")
            else:
                yield f"{prefix}{layer.name}", layer

    @property
    def trainable(self) -> bool:
        """Whether any layer is trainable. Setting it sets every layer, and takes effect on the next batch."""
        return any(layer.trainable for layer in self._layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in vars(self).get("_layers", []):
            layer.trainable = value

    @property
    def weights(self) -> list[np.ndarray]:
        """All layers' weights."""
        return [w for _, layer in self.walk() for w in layer.weights]

    @property
    def trainable_weights(self) -> list[np.ndarray]:
        """The weights that training changes now."""
        return [w for _, layer in self.walk() for w in layer.trainable_weights]

    @property
    def non_trainable_weights(self) -> list[np.ndarray]:
        """The weights that training leaves alone now."""
        return [w for _, layer in self.walk() for w in layer.non_trainable_weights]

    def astype(self, dtype: Any) -> Stack:
        """Convert all layers in place."""
        self.dtype = np.dtype(dtype)
        for layer in self._layers:
            layer.astype(dtype)
        return self

    # Private.

    def _name(self, layer: Layer) -> None:
        taken = {other.name for other in self._layers}
        if layer.name is None:
            base = name = default_name(type(layer))
            number = 0
            while name in taken:
                number += 1
                name = f"{base}_{number}"
            layer.name = name
        elif layer.name in taken:
            raise ValueError(
                f"add: there is a layer named {layer.name!r} already; names must be unique in a model, "
                "give one of the two another (name=..., or layer.name = ... before adding)"
            )

    def _update_shapes(self) -> None:
        self.built = bool(self._layers) and all(layer.built for layer in self._layers)
        self.input_shape = self._layers[0].input_shape if self.built else None
        self.output_shape = self._layers[-1].output_shape if self.built else None


class Mode:
    """What `Stack.mode` sets for a while; a class, since small batches would notice a generator."""

    def __init__(self, stack: Stack, *flags: bool):
        self.stack, self.flags = stack, flags

    def __enter__(self) -> None:
        stack = self.stack
        self.before = stack.keep_cache, stack.need_dx
        stack.keep_cache, stack.need_dx = self.flags

    def __exit__(self, *_: object) -> None:
        self.stack.keep_cache, self.stack.need_dx = self.before


def _fit_together(layer: Layer, shape: Shape) -> None:
    layer.ensure_built(shape)
    built = layer.input_shape or shape
    if len(built) != len(shape) or any(a != b for a, b in zip(built[1:], shape[1:], strict=True) if a is not None):
        raise wrong_shape(layer.label, built, shape, "it was built for other inputs; use a new layer here")
