"""A model for every step of a sequence: a network for images reads a film, one for sentences a text."""

from __future__ import annotations

from typing import Any

from minitl.errors import numeric
from minitl.graph.graph import Graph
from minitl.graph.value import use
from minitl.layers.base import Layer
from minitl.layers.core import InputLayer
from minitl.layers.steps import SamplesAsSteps, StepsAsSamples
from minitl.layers.wrappers import TimeDistributed
from minitl.models.model import Model
from minitl.models.saving import layers_from


class TimeDistributedModel(Model, TimeDistributed):
    """What `layers.TimeDistributed` makes of a model, or of a layer of your own: the steps pass through it as samples.

    Formula: y[n, t] = layer(x[n, t]); normalisations see the steps of all sequences of a batch together.
    Parameters: `layer` is a model with one input or several, or a layer. It stays what it is, and may be used elsewhere, too.
    Shapes: x (N, T, ...), y (N, T, ...); a list of them for several inputs or outputs.
    Errors: ValueError for inputs that are no sequences.
    """

    named_as = "TimeDistributed"

    def __init__(self, layer: Layer, name: str | None = None, trainable: bool = True, input_shape: Any = None):
        Layer.__init__(self, name=name, input_shape=input_shape)
        self._set_up()
        self.layer = layer
        self._name_all([layer])
        if not trainable:
            self.trainable = False

    def build(self, input_shape: Any = None) -> None:
        """The graph for sequences of a shape, the batch first, or for a list of such shapes."""
        if self._graph is not None:
            return
        shape = self.declared_shape if input_shape is None else input_shape
        if shape is None:
            raise ValueError(f"{self.label}: the input shape is not known; call it on data, or build((None, ...))")
        shapes = [tuple(one) for one in (shape if isinstance(shape, list) else [shape])]
        for one in shapes:
            if len(one) < 3:
                raise ValueError(f"{self.label}: needs inputs (N, T, ...), got {one}")
        entries = [InputLayer(one[1:], dtype=kind).value for one, kind in zip(shapes, self._wanted(shapes), strict=True)]
        made = use(self.layer, [StepsAsSamples()(entry) for entry in entries], None)
        self._adopt(Graph(entries, [SamplesAsSteps()([value, entries[0]]) for value in made], type(self).__name__))

    @property
    def input(self) -> Any:
        """The value on which it was first called, as of a layer; before that its graph's."""
        return Layer.input.fget(self) if self._is_used else super().input  # type: ignore[attr-defined]

    @property
    def output(self) -> Any:
        """The value that its first call gave, as of a layer; before that its graph's."""
        return Layer.output.fget(self) if self._is_used else super().output  # type: ignore[attr-defined]

    @property
    def _is_used(self) -> bool:
        return any(known() is not None for known in self._nodes)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds it: the layer, and the shape of its input."""
        shape = self.input_shape or self.declared_shape
        return {"name": self.name, "dtype": self.dtype.name, "layer": self._layer_config(self.layer), "input_shape": shape}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """What `get_config` described, with new weights."""
        found = cls(layers_from([config["layer"]], custom_objects)[0], name=config.get("name"))
        shape = config.get("input_shape")
        if shape is not None:
            found.build([tuple(one) for one in shape] if isinstance(shape[0], (list, tuple)) else tuple(shape))
        found.dtype = numeric(found, config.get("dtype", "float32"))
        return found

    def _wanted(self, shapes: list[Any]) -> list[Any]:
        """The inputs' dtypes."""
        layer: Any = self.layer
        if layer.is_container and layer.built:
            return [value.dtype for value in layer.graph.inputs]
        return [layer.input_dtype] * len(shapes)

    def _parts(self) -> list[Layer]:
        return [self.layer] if "layer" in vars(self) else []
