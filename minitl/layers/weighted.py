"""What has weights: parameters that gradients move and state that they do not, by name, in Keras's order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from minitl import constraints, initializers, regularizers
from minitl.errors import wrong_shape
from minitl.kernels.memory import aligned
from minitl.layers.names import default_name
from minitl.layers.reserve import reserve
from minitl.layers.variable import Variable, in_order
from minitl.random import new_generator

IN_ORDER = ("name", "shape", "initializer", "regularizer", "trainable", "dtype", "constraint")
OF_KERAS_3 = ("shape", "initializer", "dtype", "trainable", "autocast", "regularizer", "constraint", "aggregation", "name")
WITHOUT_MEANING = ("dtype", "autocast", "aggregation", "synchronization", "use_resource")  # of other devices and precisions
SWITCHES = {"bias": "use_bias", "gamma": "scale", "beta": "center"}  # what says that a layer is without this weight


class Weighted:
    """The weights of a layer, and of the layers that it holds."""

    parameters: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    regularizers: dict[str, regularizers.Regularizer]
    constraints: dict[str, Any] = {}  # noqa: RUF012 (replaced, never changed): what weights are brought to after an update
    # Arguments `<name>_constraint` that the constructor takes beside its own, and the weights that they are for.
    constrained: ClassVar[dict[str, str]] = {}
    dtype: np.dtype
    name: str | None
    _trainable: bool
    _variables: dict[tuple[bool, str], Variable]

    def __getattr__(self, attribute: str) -> Any:
        # A weight under its own name: layer.kernel, layer.moving_mean.
        own = vars(self)
        if attribute in own.get("parameters", ()):
            return self._variable(self.parameters, attribute)
        if attribute in own.get("state", ()):
            return self._variable(self.state, attribute)
        if own.get(SWITCHES.get(attribute, "")) is False:
            return None
        built = "; a layer has its weights once it is built" if own.get("built") is False else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}{built}")

    @property
    def label(self) -> str:
        """How errors call it."""
        raise NotImplementedError

    def sublayers(self) -> list[tuple[str, Any]]:
        """The layers that it holds."""
        raise NotImplementedError

    def named_layers(self, prefix: str = "", name: str | None = None) -> Iterator[tuple[str, Any]]:
        """Itself and the layers that it holds, by their paths."""
        raise NotImplementedError

    def add_weight(self, *first: Any, **settings: Any) -> Variable:
        """Create a named weight, with first values from the initializer, and return it as a variable.

        Parameters: `name`, by default "weight", "weight_1", ...; `shape`, `initializer` ("glorot_uniform"), `regularizer`,
        `trainable` (True), `dtype`, `constraint`. Without their names they come in this order, or as in Keras 3, where the shape
        is the first, and the name the last. `trainable=False` puts the weight among the state: saved, but moved by no gradient.
        Optimizers change the array in place, so that an attribute that holds it stays current. Its dtype is the layer's.
        Errors: TypeError for a setting that no weight has.
        """
        given = in_order(self.label, first, settings, IN_ORDER, OF_KERAS_3)
        unknown = given.keys() - {*IN_ORDER, *WITHOUT_MEANING}
        if unknown:
            raise TypeError(f"{self.label}: add_weight takes {', '.join(IN_ORDER)}, got {', '.join(sorted(unknown))}")
        return self._new_weight(**{name: value for name, value in given.items() if name not in WITHOUT_MEANING})

    def take_constraints(self, given: dict[str, Any]) -> None:
        """Keep the constraints among a constructor's arguments.

        Errors: TypeError for any other argument.
        """
        for argument in self.constrained:
            setattr(self, f"{argument}_constraint", constraints.get(given.pop(f"{argument}_constraint", None)))
        if given:
            raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument {next(iter(given))!r}")

    @property
    def constraint_arguments(self) -> dict[str, Any]:
        """The constraints that there are, by argument."""
        found = {f"{name}_constraint": getattr(self, f"{name}_constraint") for name in self.constrained}
        return {argument: constraint for argument, constraint in found.items() if constraint is not None}

    def _new_weight(
        self,
        name: str | None = None,
        shape: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        trainable: bool | None = True,
        constraint: Any = None,
    ) -> Variable:
        if name is None:
            count = len(self.parameters) + len(self.state)
            name = f"weight_{count}" if count else "weight"
        start, generator = initializers.get("glorot_uniform" if initializer is None else initializer), new_generator()
        shape = tuple(() if shape is None else np.atleast_1d(shape).astype(int).tolist())
        if reserve.left is None:
            values = initializers.drawn(start, shape, generator, self.dtype)
        else:
            values = reserve.take(self.label, name, shape)
        weight = aligned(values, self.dtype)
        group = self.parameters if trainable or trainable is None else self.state
        group[name] = weight
        if regularizer is not None:
            self.regularizers[name] = regularizers.get(regularizer)
        if constraint is None:
            of = [argument for argument, weight in self.constrained.items() if weight == name]
            constraint = getattr(self, f"{of[0]}_constraint") if of else None
        if constraint is not None:
            self.constraints = {**self.constraints, name: constraints.get(constraint)}
        return self._variable(group, name)

    add_variable = add_weight  # its name in TensorFlow 1

    @property
    def weights(self) -> list[Variable]:
        """All weights: views of the arrays, with their names."""
        return [*self.own_weights(True), *self.own_weights(False), *(w for _, layer in self.sublayers() for w in layer.weights)]

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes now: none when the layer is frozen."""
        if not self._trainable:
            return []
        return [*self.own_weights(True), *(w for _, layer in self.sublayers() for w in layer.trainable_weights)]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training leaves alone now."""
        trained = {id(w.array) for w in self.trainable_weights}
        return [w for w in self.weights if id(w.array) not in trained]

    variables = property(lambda self: self.weights, doc="The weights, under Keras's other name.")
    trainable_variables = property(lambda self: self.trainable_weights, doc="The weights that training changes now.")
    non_trainable_variables = property(lambda self: self.non_trainable_weights, doc="The weights that training leaves alone.")

    def own_weights(self, learnt: bool, path: str | None = None) -> list[Variable]:
        """The weights of this layer alone, of parameters or of state, under its name or its path in a model."""
        group = self.parameters if learnt else self.state
        return [self._variable(group, name, path) for name in group]

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights."""
        return [weight.numpy() for weight in self.weights]

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

    def _variable(self, group: dict[str, np.ndarray], name: str, path: str | None = None) -> Variable:
        # The same object every time, so that lists of weights can be compared.
        learnt = group is self.parameters
        found = self._variables.get((learnt, name))
        if found is None or found.array is not group[name]:
            found = self._variables[learnt, name] = Variable.of(group[name], name)
        found.path, found.trainable = f"{path or self.name or default_name(type(self))}/{name}", learnt and self._trainable
        return found
