"""What a layer is: named parameters, a forward and a backward pass, and a flag that freezes it.

Your own layer needs `forward` and `backward` only:

    class Scale(Layer):
        def build(self, input_shape):
            self.gamma = self.add_weight("gamma", input_shape[-1:], "ones")

        def forward(self, x, training):
            self.x = x
            return x * self.gamma

        def backward(self, dy):
            self.gradients["gamma"] = (dy * self.x).sum(axis=tuple(range(dy.ndim - 1)))
            return dy * self.gamma

Shapes that describe a layer carry the batch as their first entry, None, as in Keras: (None, 32, 32, 3).
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minitl import initializers, regularizers
from minitl.errors import wrong_shape
from minitl.kernels.memory import aligned
from minitl.random import new_generator
from minitl.serialization import constructor_arguments

Shape = tuple[int | None, ...]


class Layer:
    """A step of a network, with parameters of its own.

    Attributes: `parameters`, `state` (weights that no gradient moves, such as moving statistics) and `gradients` are
    dictionaries of arrays by name. `trainable` is read at every step. `keep_cache` and `need_dx` are set by the model
    before a forward pass: whether a backward pass will follow, and whether it will ask for dx.
    Errors: ValueError for a name that could not be a key in a weight file.
    """

    parameters: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    regularizers: dict[str, regularizers.L1L2]
    is_container = False
    batch_statistics = False  # whether samples of a batch may influence one another while training
    activation: str | None = None
    output_activation: str | None = None  # the activation that `forward_logits` can leave out

    def __new__(cls, *args: Any, **kwargs: Any) -> Layer:  # noqa: D102
        # Not in __init__, so that a user's layer need not call super().__init__().
        layer = super().__new__(cls)
        layer.name, layer.trainable, layer.dtype = None, True, np.dtype(np.float32)
        layer.parameters, layer.state, layer.gradients, layer.regularizers = {}, {}, {}, {}
        layer.declared_shape = layer.input_shape = layer.output_shape = None
        layer.built, layer.keep_cache, layer.need_dx, layer.cache = False, True, True, None
        return layer

    name: str | None
    dtype: np.dtype
    trainable: bool
    declared_shape: Shape | None
    input_shape: Shape | None
    output_shape: Shape | None
    built: bool
    keep_cache: bool
    need_dx: bool
    cache: Any

    def __init__(
        self,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = "float32",
        input_shape: tuple[int | None, ...] | None = None,
        input_dim: int | None = None,
    ):
        if name is not None and not re.fullmatch(r"[^/\\@\s][^/\\@]*", name):
            raise ValueError(f"a layer's name must not be empty nor contain '/', '\\' or '@', got {name!r}")
        self.name = name
        self.trainable = trainable
        self.dtype = np.dtype(dtype)
        if input_dim is not None:
            input_shape = (input_dim,)
        if input_shape is not None:
            self.declared_shape = (None, *input_shape)

    def build(self, input_shape: Shape) -> None:
        """Create the parameters with `add_weight`; a layer without parameters need not define it."""

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """y, from a batch x; keep in `self` what backward will need."""
        raise NotImplementedError(f"layer {type(self).__name__} must define forward(self, x, training)")

    def backward(self, dy: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """Fill `self.gradients`, return dx; a user's layer may leave `need_dx` out and always return dx."""
        raise NotImplementedError(
            f"layer {type(self).__name__} must define backward(self, dy): fill self.gradients[name] for every "
            "parameter and return dx, the gradient with respect to forward's x"
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of y for a shape of x; by default found out by running forward on one sample of zeros."""
        if None in input_shape[1:]:
            raise ValueError(f"{self.label}: define compute_output_shape() to work with an open input shape {input_shape}")
        y = self._call_forward(np.zeros((1, *input_shape[1:]), self.dtype), False)  # type: ignore[arg-type]
        if not isinstance(y, np.ndarray):
            raise TypeError(f"{self.label}: forward() must return an array, got {type(y).__name__}")
        return (None, *y.shape[1:])

    def add_weight(
        self,
        name: str,
        shape: tuple[int, ...],
        initializer: Any = "glorot_uniform",
        regularizer: Any = None,
        trainable: bool = True,
    ) -> np.ndarray:
        """Create a named weight, with first values from the initializer, and return it.

        `trainable=False` puts it among the state: saved, but moved by no gradient. Optimizers change the array in
        place, so that an attribute that holds it stays current.
        """
        draw = initializers.get(initializer)
        weight = aligned(np.asarray(draw(tuple(shape), new_generator())), self.dtype)
        (self.parameters if trainable else self.state)[name] = weight
        if regularizer is not None:
            self.regularizers[name] = regularizers.get(regularizer)  # type: ignore[assignment]
        return weight

    # What the framework calls.

    def ensure_built(self, input_shape: Shape) -> None:
        """Build once, for this input shape; errors name the layer."""
        if self.built:
            return
        try:
            self.build(tuple(input_shape))
            self.built = True
            self.input_shape = tuple(input_shape)
            self.output_shape = tuple(self.compute_output_shape(self.input_shape))
        except (ValueError, TypeError) as error:
            self.built = False
            self.parameters.clear()
            self.state.clear()
            if self.label in str(error):
                raise
            raise type(error)(f"{self.label} on an input of shape {tuple(input_shape)}: {error}") from error

    def __call__(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Build if need be, check x, and run forward in the layer's dtype."""
        return self._call_forward(self._admit(x), training)

    def call_logits(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The same, giving also what came before the last activation."""
        return self.forward_logits(self._admit(x), training)

    def forward_logits(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, np.ndarray]:
        """What comes before the last activation, and y; the same array where there is none."""
        y = self._call_forward(x, training)
        return y, y

    def backward_logits(self, dz: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """Back from the logits instead of from y."""
        return self.backward(dz, need_dx=need_dx) if _takes_need_dx(type(self).backward) else self.backward(dz)

    def pull(self, dy: np.ndarray, need_dx: bool = True, from_logits: bool = False) -> np.ndarray | None:
        """Run backward and check what it did: every parameter has its gradient, and dx has x's shape."""
        self.gradients.clear()
        dx = self.backward_logits(dy, need_dx) if from_logits else Layer.backward_logits(self, dy, need_dx)
        if self.trainable:
            for name, weight in self.parameters.items():
                gradient = self.gradients.get(name)
                if gradient is None:
                    raise ValueError(f"{self.label}: backward() left no gradient; set self.gradients[{name!r}] in it")
                if np.shape(gradient) != weight.shape:
                    advice = "sum over the axes along which the parameter was shared"
                    raise wrong_shape(f"{self.label}: gradient of {name!r}", weight.shape, np.shape(gradient), advice)
        if need_dx:
            if not isinstance(dx, np.ndarray):
                advice = "it must return dx, the gradient with respect to forward's x"
                raise TypeError(f"{self.label}: backward() returned {type(dx).__name__}; {advice}")
            if self.input_shape is not None and not _fits(self.input_shape, dx.shape):
                raise wrong_shape(f"{self.label}: dx", self.input_shape, dx.shape, "return dx in the shape of x")
        return dx

    @property
    def label(self) -> str:
        """How errors call this layer."""
        return f"layer {self.name!r} ({type(self).__name__})" if self.name else f"layer {type(self).__name__}"

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """This layer under its path; a container gives the layers in it."""
        yield prefix + (self.name or default_name(type(self))), self

    def astype(self, dtype: Any) -> Layer:
        """Convert the layer and its weights in place; attributes that hold a weight follow it."""
        self.dtype = np.dtype(dtype)
        for weights in (self.parameters, self.state):
            for name, old in weights.items():
                weights[name] = aligned(old, self.dtype)
                for attribute, value in vars(self).items():
                    if value is old:
                        setattr(self, attribute, weights[name])
        return self

    # Weights, in Keras's order: what is trained first, then the state.

    @property
    def weights(self) -> list[np.ndarray]:
        """All weights, the arrays themselves."""
        return [*self.parameters.values(), *self.state.values()]

    @property
    def trainable_weights(self) -> list[np.ndarray]:
        """The weights that training changes now: none when the layer is frozen."""
        return list(self.parameters.values()) if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[np.ndarray]:
        """The weights that training leaves alone now."""
        return list(self.state.values()) if self.trainable else self.weights

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights."""
        return [weight.copy() for weight in self.weights]

    def set_weights(self, weights: list[np.ndarray]) -> None:
        """Overwrite all weights, or none.

        Errors: ValueError for another number of arrays or another shape.
        """
        own = self.weights
        if len(weights) != len(own):
            raise ValueError(f"{self.label}: expected {len(own)} weight arrays, got {len(weights)}; build the layer first?")
        arrays = [np.asarray(weight) for weight in weights]
        for position, (mine, given) in enumerate(zip(own, arrays, strict=True)):
            if mine.shape != given.shape:
                raise wrong_shape(f"{self.label}: weight {position}", mine.shape, given.shape, "load weights of the same network")
        for mine, given in zip(own, arrays, strict=True):
            mine[...] = given

    def count_params(self) -> int:
        """How many numbers the weights hold."""
        return sum(weight.size for weight in self.weights)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer: the constructor's arguments, from the attributes of the same names."""
        return constructor_arguments(self, skip=("input_shape", "input_dim"))  # the model keeps the shape

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The layer that `get_config` described."""
        return cls(**config)

    def _admit(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, self.dtype)
        if not self.built:
            self.ensure_built((None, *x.shape[1:]))
        expected = self.input_shape
        # A container leaves this to its first layer, whose name says more.
        if self.is_container or expected is None or _fits(expected, x.shape):
            return x
        raise wrong_shape(self.label, expected, x.shape, "reshape the data, or build the network for this shape")

    def _call_forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        return self.forward(x, training) if _takes_training(type(self).forward) else self.forward(x)


def default_name(cls: type) -> str:
    """The snake-case name of a class, as Keras makes it: Conv2D is conv2d, MaxPooling2D is max_pooling2d."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", cls.__name__)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


@functools.lru_cache(maxsize=1024)
def _fits(expected: Shape, shape: tuple[int, ...]) -> bool:
    return len(expected) == len(shape) and all(e is None or e == n for e, n in zip(expected, shape, strict=True))


@functools.cache
def _takes_training(forward: Callable[..., Any]) -> bool:
    return len(inspect.signature(forward).parameters) > 2


@functools.cache
def _takes_need_dx(backward: Callable[..., Any]) -> bool:
    return "need_dx" in inspect.signature(backward).parameters
