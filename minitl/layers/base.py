"""What a layer is: named parameters, a forward and a backward pass, and a flag that freezes it.

Your own layer needs `forward` and `backward` only, and keeps in `self` what backward will need:

    class Scale(Layer):
        def build(self, input_shape):
            self.gamma = self.add_weight("gamma", input_shape[-1:], "ones")

        def forward(self, x, training):
            self.x = x
            return x * self.gamma

        def backward(self, dy):
            self.gradients["gamma"] = (dy * self.x).sum(axis=tuple(range(dy.ndim - 1)))
            return dy * self.gamma

or, as in Keras, `call` alone, whose backward is found by recording it (`minitl.layers.recorded`).

The layers of minitl keep nothing. They have the same two halves as a pair of functions: `compute(x, training)` returns y and a
cache, and `backpropagate(dy, cache, need)` takes it. Whoever runs them holds the cache (`minitl.graph.run`), so that one layer
can be used several times, and by several threads at once. `forward` and `backward` work on them too, for use by hand.

A layer may hold others as attributes (`self.inner = Sequential([...])`): their weights are found, saved, frozen and trained.
Run them by `self.inner(x, training)` in forward and `self.inner.backward(dy)` in backward.

Shapes that describe a layer carry the batch as their first entry, None, as in Keras: (None, 32, 32, 3).
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from minitl import channels, regularizers
from minitl.errors import about_arrays, numeric, sizes, wrong_shape
from minitl.graph.plan import Need, Step
from minitl.graph.steps import JointStep, LayerStep, UserStep, by_hand, takes_training, under_way
from minitl.graph.value import UNDECIDED, Node, NoNumbersYetError, Shape, Value, fits, values_in
from minitl.kernels.memory import aligned
from minitl.layers import recorded
from minitl.layers.building import build_once, marking_built
from minitl.layers.call_arguments import examine
from minitl.layers.followed import on_values
from minitl.layers.holding import Holding
from minitl.layers.names import check_name
from minitl.layers.output_shape import found_out
from minitl.layers.variable import array_of, as_result
from minitl.serialization import constructor_arguments


class Layer(Holding):
    """A step of a network, with parameters of its own.

    Attributes: `parameters`, `state` (weights that no gradient moves, such as moving statistics) and `gradients` (of the last
    `backward`) are dictionaries of arrays by name. `trainable` is read at every step; setting it sets the layers inside, too.
    Errors: ValueError for a name that could not be a key in a weight file.
    """

    is_container = False
    takes_several = False  # whether x is a list of arrays
    keeps_integers = False  # whether whole numbers go in as they are, and are not converted to the layer's dtype
    any_shape = True  # whether one layer may be used on values that differ in other axes than the last
    batch_statistics = False  # whether samples of a batch may influence one another while training
    draws: Any = False  # whether it draws random numbers while training
    has_call = spreads = False  # its backward is found by recording its call; with several arguments
    call: Any = recorded.built_in_call
    activity_regularizer: Any = None  # a penalty on what the layer gives, per sample
    activation: str | None = None
    output_activation: str | None = None  # the activation that `compute_logits` can leave out
    name: str | None
    declared_shape: Shape | None
    input_shape: Any
    output_shape: Any
    built: bool
    first_weights: list[Any] | None = None  # what `weights=` of older programs gave, until the layer is built
    _nodes: list[Any]
    is_being_built = False
    named_by_model: bool  # whether the name is one that a model gave

    def __init_subclass__(cls, **kwargs: Any):
        # Layers that a user's forward calls remember what its backward will ask of them.
        super().__init_subclass__(**kwargs)
        examine(cls)
        if "call" in vars(cls) and not cls.is_container and "forward" not in vars(cls):
            cls.forward, cls.backward = recorded.forward, recorded.backward  # type: ignore[method-assign]
            cls.add_loss = recorded.add_loss  # type: ignore[attr-defined]
            cls.has_call = True
        if "forward" in vars(cls):
            cls.forward = by_hand(cls.forward)  # type: ignore[method-assign]
        if not (cls.is_container or hasattr(cls.build, "create")):
            cls.build = marking_built(cls.build)  # type: ignore[method-assign]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        # Not in __init__, so that a user's layer need not call super().__init__().
        layer = super().__new__(cls)
        layer.name, layer._trainable, layer.dtype = None, True, np.dtype(np.float32)
        layer.parameters, layer.state, layer.gradients, layer.regularizers = {}, {}, {}, {}
        layer.declared_shape = layer.input_shape = layer.output_shape = None
        layer.built, layer.named_by_model, layer._nodes, layer._variables = False, False, [], {}
        return layer

    def __init__(
        self,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = "float32",
        input_shape: tuple[int | None, ...] | None = None,
        input_dim: int | None = None,
        activity_regularizer: Any = None,
        **more: Any,
    ):
        self.take_constraints(more)
        if name is not None:
            check_name(name)
        self.name, self.trainable = name, trainable
        self.dtype = numeric(self, dtype)
        if self.dtype.kind == "b" and not self.keeps_integers:
            raise ValueError(f"{type(self).__name__}: cannot compute in {self.dtype.name}; use float32 or float64")
        self.activity_regularizer = regularizers.get(activity_regularizer)
        input_shape = input_shape if input_dim is None else (input_dim,)
        if input_shape is not None:
            self.declared_shape = (None, *channels.inner_shape(sizes(f"{type(self).__name__}: input_shape", input_shape)))

    # What a layer defines. A user's layer defines forward and backward, one of minitl's compute and backpropagate.

    def build(self, input_shape: Any) -> None:
        """Create the parameters with `add_weight`; a layer without parameters need not define it.

        Whoever calls it gets a layer that is built, as in Keras; on a layer that is built already, nothing happens.
        Errors: ValueError for a shape that a built layer cannot take.
        """

    def compute(self, x: Any, training: bool) -> tuple[Any, Any]:
        """y, and what backpropagate will need, from a batch x."""
        raise NotImplementedError(f"layer {type(self).__name__} must define forward(self, x, training)")

    def backpropagate(self, dy: Any, cache: Any, need: Need) -> tuple[Any, dict[str, np.ndarray]]:
        """dx (None if it is not needed), and the parameters' gradients by name, from dy and what compute kept."""
        raise NotImplementedError(f"layer {type(self).__name__} must define backward(self, dy)")

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of y for a shape of x; by default found out by running forward on zeros."""
        return found_out(self, input_shape)

    # Calls.

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """On arrays: build if need be, check x, and compute y in the layer's dtype. On a value: connect, and give a value."""
        training = None if training is UNDECIDED else training
        if self.has_call and not self.built:
            self.takes_several = isinstance(x, (list, tuple))
        values = values_in(x)
        if values is not None:
            return self._connect(values, training)
        if recorded.belongs(self, x):
            return recorded.use(self, x, training)
        x = self.prepare(x)
        if self.is_users or under_way.by_hand:  # inside a user's layer, whose backward will ask for ours
            return self._run_forward(x, bool(training))
        return as_result(self.infer(x, bool(training)))

    def infer(self, x: Any, training: bool) -> Any:
        """y alone."""
        return self.compute(x, training)[0]

    def forward(self, x: Any, training: bool = False) -> Any:
        """y from a batch x, remembered for `backward`."""
        y, self._kept = self.compute(self.prepare(x), training)
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        """dx from dy after `forward`; fills `gradients`. A user's layer may leave `need_dx` out and always return dx."""
        if self.is_users and not hasattr(self, "_kept"):
            raise NotImplementedError(
                f"layer {type(self).__name__} must define backward(self, dy): fill self.gradients[name] for every "
                "parameter and return dx, the gradient with respect to forward's x"
            )
        if not hasattr(self, "_kept"):
            raise ValueError(f"{self.label}: backward() needs a forward pass before it")
        wanted = (True,) * len(self.input_shape) if self.takes_several and need_dx else need_dx
        dx, self.gradients = self.backpropagate(dy, self._kept, Need(wanted, self.trainable))
        return dx

    @property
    def input_dtype(self) -> Any:
        """The dtype of the data that it wants when it is a network's first layer."""
        return self.dtype

    def prepare(self, x: Any) -> Any:
        """Arrays of the layer's dtype, for which it is built, from what a call was given."""
        arrays = [self.as_array(part) for part in x] if self.takes_several else [self.as_array(x)]
        if not self.built:
            with about_arrays(arrays) as shapes:
                self.ensure_built(shapes if self.takes_several else shapes[0])
        if not self.takes_several:
            return self.admit(arrays[0], self.input_shape)
        if len(arrays) != len(self.input_shape):
            raise ValueError(f"{self.label}: built for {len(self.input_shape)} inputs, got {len(arrays)}; use a new layer")
        return [self.admit(a, shape) for a, shape in zip(arrays, self.input_shape, strict=True)]

    def as_array(self, x: Any) -> np.ndarray:
        """x as an array of the layer's dtype; whole numbers stay whole where the layer wants them."""
        array = np.asarray(x)
        if array.dtype != self.dtype and not (self.keeps_integers and array.dtype.kind in "iub"):
            if array.dtype.kind == "c":
                raise TypeError(f"{self.label}: got complex numbers; give real ones, or their parts as two channels")
            array = array.astype(self.dtype)
        return array

    def admit(self, x: np.ndarray, expected: Shape | None) -> np.ndarray:
        """x in the layer's dtype.

        Errors: ValueError for another shape than expected.
        """
        x = x if x.dtype == self.dtype else self.as_array(x)
        if expected is None or fits(expected, x.shape):
            return x
        if not (self._nodes or self.takes_several) and self._may_take(x.shape):  # in a user's layer: takes what it can
            return x
        raise wrong_shape(self.label, expected, x.shape, "reshape the data, or build the network for this shape")

    # What the framework calls.

    @property
    def is_users(self) -> bool:
        """Whether the class defines forward itself, and keeps in self what its backward needs."""
        return type(self).forward is not Layer.forward

    def refuse_activity_regularizer_of(self, layer: Any) -> None:
        """Only what a node gives has a penalty: a layer inside another one may not have an activity regularizer.

        Errors: ValueError for one that has.
        """
        if layer.activity_regularizer is not None:
            raise ValueError(
                f"{self.label}: the activity_regularizer of {layer.label} inside it would not be counted; "
                "give it to the outer layer"
            )

    def step(self, node: Node, joint: bool = False) -> Step:
        """The step that runs this layer at a node of a graph."""
        return UserStep(node) if self.is_users else JointStep(node) if joint else LayerStep(node)

    def ensure_built(self, input_shape: Any) -> None:
        """Build once, for this input shape (for several inputs, a list of them); errors name the layer."""
        build_once(self, input_shape)

    def _connect(self, values: list[Value], training: bool | None) -> Any:
        if len(values) != 1 and not self.takes_several:
            raise ValueError(f"{self.label}: takes one value, got {len(values)}; merge them first, with Concatenate() or Add()")
        values = self.leave_out(values)
        self.notice_marks(values)
        shapes: Any = [value.shape for value in values]
        shape = shapes if self.takes_several else shapes[0]
        try:
            self.ensure_built(shape)
        except NoNumbersYetError as error:
            return on_values(self, values, training, error)
        if not self.takes_several and not self._may_take(shape):
            raise wrong_shape(self.label, self.input_shape, shape, "it was built for other inputs; use a new layer here")
        if shape == self.input_shape and self.output_shape is None:  # built by hand
            self.output_shape = self._output_shape_for(shape)
        out = self.compute_output_shape(shape) if shape != self.input_shape else self.output_shape
        outs: Any = out if isinstance(out, list) else [out]
        node = Node(self, values, outs, [self.output_dtype([v.dtype for v in values])] * len(outs), training)
        self.remember(node)
        return list(node.outputs) if isinstance(out, list) else node.outputs[0]

    def _output_shape_for(self, shape: Any) -> Any:
        out: Any = self.compute_output_shape(shape)  # or a list of shapes
        return out if isinstance(out, list) else tuple(out)

    def _may_take(self, shape: Shape) -> bool:
        """Whether the layer as it is built can take this shape, which may differ in axes that are free."""
        built, free = self.input_shape or shape, self.any_shape and not self.is_users
        pairs = list(zip(built[1:], shape[1:], strict=False))
        if free:
            pairs = pairs[-1:] if self.weights else []
        return (free or len(built) == len(shape)) and all(a is None or a == b for a, b in pairs)

    def output_dtype(self, dtypes: list[np.dtype]) -> np.dtype:
        """The dtype of y: the layer's, or the whole numbers that come in where they stay whole."""
        return dtypes[0] if self.keeps_integers and dtypes[0].kind in "iub" else self.dtype

    def remember(self, node: Node) -> None:
        """Note a use of the layer, for `input` and `output`; it is forgotten when no model and no value needs it."""
        self._nodes = [known for known in self._nodes if known() is not None]
        self._nodes.append(weakref.ref(node))

    @property
    def input(self) -> Any:
        """The value, or values, on which the layer was first called."""
        values = self._first_use().inputs
        return values[0] if len(values) == 1 else list(values)

    @property
    def output(self) -> Any:
        """The value, or values, that its first call gave."""
        values = self._first_use().outputs
        return values[0] if len(values) == 1 else list(values)

    def _first_use(self) -> Node:
        for node in filter(None, (known() for known in self._nodes)):
            return node
        raise ValueError(f"{self.label}: has no input and output yet; call it on a value, or begin its model with Input(shape)")

    @property
    def label(self) -> str:
        """How errors call this layer."""
        return f"layer {self.name!r} ({type(self).__name__})" if self.name else f"layer {type(self).__name__}"

    def astype(self, dtype: Any) -> Any:
        """Convert the layer and its weights in place; attributes that hold a weight follow it."""
        self.dtype = numeric(self, dtype)
        for weights in (self.parameters, self.state):
            for name, old in weights.items():
                weights[name] = aligned(old, self.dtype)
                for attribute, value in vars(self).items():
                    if array_of(value) is old:
                        setattr(self, attribute, self._variable(weights, name))
        for _, layer in self.sublayers():
            layer.astype(dtype)
        for known in self._nodes:
            node = known()
            for value in node.outputs if node else ():
                value.dtype = self.dtype if value.dtype.kind == "f" else value.dtype
        return self

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer: the constructor's arguments, from the attributes of the same names."""
        skip = ("input_shape", "input_dim", *(() if self.activity_regularizer else ("activity_regularizer",)))
        return {**constructor_arguments(self, skip, type(self).get_config is not Layer.get_config), **self.constraint_arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The layer that `get_config` described."""
        return cls(**config)

    def _run_forward(self, x: Any, training: bool) -> Any:
        if not self.is_users:
            return self.forward(x, training)
        return self.forward(x, training=training) if takes_training(type(self).forward) else self.forward(x)


Layer.build = marking_built(Layer.build)  # type: ignore[method-assign]
