"""Sequential: a model that is built by putting one layer on top of another."""

from __future__ import annotations

from typing import Any

from minitl import channels
from minitl.errors import numeric, wrong_shape
from minitl.graph.graph import Graph
from minitl.graph.value import Shape, Value, fits
from minitl.layers.base import Layer
from minitl.layers.core import InputLayer
from minitl.models.model import Model
from minitl.models.saving import layers_from


class Sequential(Model):
    """Layers one after another.

    Formula: y = layer_n(... layer_1(x)).
    The input's shape comes from `Input(shape)` as the first item, from a first layer with `input_shape=`, from `build`, or from
    the first data.
    Errors: TypeError for what is no layer, ValueError for shapes or names that clash.
    """

    def __init__(self, layers: Any = None, name: str | None = None, trainable: bool = True):
        Layer.__init__(self, name=name)
        self._set_up()
        self._layers: list[Layer] = []
        self._values: list[Value] = []  # the input's, and then each layer's, as far as they are known
        self._entry: InputLayer  # the input, once its shape is known
        for layer in layers if isinstance(layers, (list, tuple)) else [] if layers is None else [layers]:
            self.add(layer)
        if not trainable:
            self.trainable = False

    def add(self, layer: Any) -> None:
        """Put a layer on top; it is built at once when the shape that reaches it is known."""
        if isinstance(layer, Value) and isinstance(layer.node.layer, InputLayer):
            layer = layer.node.layer
        if not isinstance(layer, Layer):
            raise TypeError(f"add: expected a layer, got {layer!r}; is it a class, without its parentheses?")
        if isinstance(layer, InputLayer):
            if self._layers or self._values:
                raise ValueError("add: Input gives the shape of the data and must come first")
            self._begin(layer.input_shape, layer)
            return
        if layer is self or any(layer is other for other in self._layers):
            raise ValueError(f"add: {layer.label} is in this model already; make a second layer")
        if not self._layers and not self._values:
            shape = layer.declared_shape or (None if layer.takes_several else layer.input_shape)
            if shape is not None:
                self._begin(shape, dtype=layer.input_dtype)
        self._name_all([layer])
        if self._values:
            try:
                value = self._joined(layer)
            except Exception:
                del self._names[layer]
                raise
            self._values.append(value)
        self._layers.append(layer)
        self._update()

    def pop(self) -> Layer:
        """Take the top layer off and return it."""
        if not self._layers:
            raise ValueError("pop: the model has no layers")
        layer = self._layers.pop()
        del self._names[layer]
        self._values = self._values[: len(self._layers) + 1]
        self._update()
        return layer

    def build(self, input_shape: Any = None) -> None:
        """Create all parameters for inputs of a shape, the batch first: (None, 32, 32, 3)."""
        if not self._layers:
            raise ValueError("the model has no layers; add() some")
        shape = self.declared_shape if input_shape is None else tuple(input_shape)
        if shape is None:
            raise ValueError("the input shape is not known; begin with Input(shape), or build((None, ...))")
        if self._values:
            if not fits(self._values[0].shape, shape):
                label = self._layers[0].label
                raise wrong_shape(label, self._values[0].shape, shape, "it was built for other inputs; use a new layer here")
            return
        self._begin((None, *shape[1:]), dtype=self.input_dtype)
        self._join_all()

    def build_anew(self, input_shape: Any) -> None:
        """Connect the layers again, for inputs of another shape; if they cannot take it, the model stays as it was.

        Errors: ValueError of the layer that cannot.
        """
        before: tuple[list[Value], InputLayer, Any] = self._values, self._entry, self.declared_shape
        self._begin(tuple(input_shape), dtype=self.input_dtype)
        try:
            self._join_all()
        except Exception:
            self._values, self._entry, self.declared_shape = before
            self._update()
            raise

    def _join_all(self) -> None:
        try:
            for layer in self._layers:
                self._values.append(self._joined(layer))
        except Exception:
            self._values = []
            raise
        self._update()

    def _joined(self, layer: Layer) -> Value:
        value = layer(self._values[-1])
        if not isinstance(value, Value):
            raise ValueError(f"{layer.label} has {len(value)} outputs, a Sequential passes on one; use Model(inputs, outputs)")
        return value

    def _begin(self, shape: Shape, entry: InputLayer | None = None, dtype: Any = "float32") -> None:
        self.declared_shape = tuple(shape)
        if entry is None:
            with channels.inside():
                entry = InputLayer(shape[1:], dtype=dtype)
        self._names.pop(entry, None)
        self._entry = entry  # its value's node is the graph's beginning
        self._values = [entry.value]

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Refused: the layers' list has no place for it.

        Errors: ValueError, always.
        """
        raise ValueError(f"{self.label}: add_loss() needs a Model; make one: Model(model.inputs, model.outputs)")

    def _update(self) -> None:
        self._plans.clear()
        if len(self._values) == len(self._layers) + 1 and self._layers:
            self._adopt(Graph([self._values[0]], [self._values[-1]], type(self).__name__))
        else:
            self._graph, self._flat, self.built = None, None, False
            self.input_shape = self.output_shape = None

    @property
    def layers(self) -> list[Layer]:
        """The layers, bottom first."""
        return list(self._layers)

    def _parts(self) -> list[Layer]:
        return self._layers if "_layers" in vars(self) else []

    @property
    def output_activation(self) -> str | None:  # type: ignore[override]
        """The last layer's."""
        return self._layers[-1].output_activation if self._layers else None

    @property
    def input_dtype(self) -> Any:
        """The dtype of the data that it wants: the first layer's wish."""
        return self._values[0].dtype if self._values else self._layers[0].input_dtype if self._layers else "float32"

    def astype(self, dtype: Any) -> Any:
        """Convert all layers in place."""
        if self._values and self._entry.dtype.kind == "f":
            self._entry.astype(dtype)
        return super().astype(dtype)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the model: its layers, and its input's shape and dtype."""
        return {
            "name": self.name,
            "dtype": self.dtype.name,
            "input_shape": self.input_shape or self.declared_shape,
            "input_dtype": self._values[0].dtype.name if self._values else None,
            "layers": [self._layer_config(layer) for layer in self._layers],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """The model that `get_config` described, with new weights."""
        model = cls(name=config.get("name"))
        if config.get("input_shape") is not None:
            model._begin(tuple(config["input_shape"]), dtype=config.get("input_dtype") or "float32")
        for layer in layers_from(config["layers"], custom_objects):
            model.add(layer)
        model.dtype = numeric(model, config.get("dtype", "float32"))
        return model

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name not in ("_values", "_entry")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._values = []
        if self._graph is not None:
            self._values = [self._graph.inputs[0], *(node.outputs[0] for node in self._graph.nodes)]
            self._entry = self._values[0].node.layer
        elif self.declared_shape is not None:
            self._begin(self.declared_shape, dtype=self.input_dtype)
            for layer in self._layers:
                self._values.append(self._joined(layer))
