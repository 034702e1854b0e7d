"""What a model consists of: its graph, the names of its layers, their weights and flags, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from minitl.errors import numeric, unknown
from minitl.graph.graph import Graph
from minitl.graph.plan import Plan
from minitl.graph.shortcut import Shortcut
from minitl.graph.value import Value
from minitl.layers.added_loss import AddedLoss
from minitl.layers.base import Layer
from minitl.layers.core import InputLayer
from minitl.layers.masking import LeaveOut, left_out_inside, tell_inside
from minitl.layers.names import default_name, free_name
from minitl.layers.variable import Variable
from minitl.models.called import followed
from minitl.models.trainer import Trainer
from minitl.progress import preformatted

OF_MODELS = ("_flat", "_names", "_plans", "learnt_when_compiled")  # what no program assigned, and holds layers


class Structure(Trainer):
    """The parts of a model. A model has no parameters of its own."""

    is_container = True

    def _set_up(self) -> None:
        self.fuse = self.fold = True
        self._graph: Graph | None = None
        self._flat: list[tuple[str, Layer]] | None = None
        self._names: dict[Layer, str] = {}
        self._plans: dict[tuple, tuple[list[Any], Plan]] = {}
        self.shortcut = Shortcut()
        self._added_losses: list[Value] = []  # by a call that is being followed
        self._built_for_data = False  # for the sizes of what came first, since no shape was given
        self._set_up_training()

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Let a value computed from the network's values join the loss, by its mean; `compile` may then do without a loss.

        Parameters: `losses` is one value, or a list; `inputs` is what older programs say, and has no meaning here.
        Errors: TypeError for what is no value; ValueError for one that needs what is no input of the model.
        """
        values = list(losses) if isinstance(losses, (list, tuple)) else [losses]
        for value in values:
            if not isinstance(value, Value):
                raise TypeError(
                    f"{self.label}: add_loss() takes values, what layers and functions of NumPy give on Input(...), got "
                    f"{type(value).__name__}"
                )
        added_losses = [AddedLoss(dtype=value.dtype)(value) for value in values]
        if self._graph is None:
            self._added_losses += added_losses
        else:
            graph = self._graph
            self._adopt(Graph(graph.inputs, graph.outputs, self.label, [*graph.added_losses, *added_losses]))

    @property
    def adds_loss(self) -> bool:
        """Whether something in it joins the loss by `add_loss`."""
        return any(
            isinstance(leaf, AddedLoss) or (leaf.has_call and "add_loss" in type(leaf).call.__code__.co_names)
            for _, leaf in self.named_layers()
        )

    def add_weight(self, *first: Any, **settings: Any) -> Variable:
        """Refused: what a model's call does with a weight is followed once, with the numbers that it has then.

        Errors: TypeError, always.
        """
        raise TypeError(
            f"{self.label}: a model has no weights of its own here; make a Layer that has the weight and uses it, and call that"
        )

    def _adopt(self, graph: Graph) -> None:
        """Make a graph this model's: name its layers, and take its shapes."""
        self._name_all(graph.layers)
        for layer in graph.layers:
            uses = sum(node.layer is layer for node in graph.nodes)
            if layer.is_users and uses > 1:
                raise ValueError(
                    f"{layer.label}: is used {uses} times in this model, but a layer of your own keeps in self what its backward "
                    "needs, so that the second use would overwrite the first's; make one layer for each use"
                )
        self._graph, self.built = graph, True
        self._plans.clear()
        # Layers of a user may get others inside at any time; without them, and models, the list stays what it is.
        self._flat = None if any(layer.is_container or layer.is_users for layer in graph.layers) else list(self._walk())
        self.takes_several = len(graph.inputs) > 1
        shapes = [value.shape for value in graph.inputs]
        self.input_shape = shapes if self.takes_several else shapes[0]
        shapes = [value.shape for value in graph.outputs]
        self.output_shape = shapes if len(shapes) > 1 else shapes[0]

    def _build_for_data(self, input_shape: Any) -> None:
        self.build(input_shape)
        self._built_for_data = True

    def build_anew(self, input_shape: Any) -> None:
        """Follow a subclass's `call` again, for an input of another shape; if its layers cannot take it, nothing changes.

        Errors: ValueError of the layer that cannot; TypeError for a call that adds to the loss.
        """
        if self.graph.added_losses:
            raise TypeError(f"{self.label}: its call() adds to the loss, and is followed once")
        inputs, outputs = followed(self, input_shape)
        graph = Graph(inputs, outputs, type(self).__name__)
        gone = set(self.graph.layers) - set(graph.layers)
        self._names = {layer: name for layer, name in self._names.items() if layer not in gone}
        self._adopt(graph)

    def _name_all(self, layers: Iterable[Layer]) -> None:
        for layer in layers:
            if layer not in self._names:
                self._names[layer] = self._free_name(layer)

    def _free_name(self, layer: Layer) -> str:
        taken = set(self._names.values())
        if layer.name is not None and layer.name not in taken:
            return layer.name
        if layer.name is not None and not layer.named_by_model:
            raise ValueError(
                f"{self.label}: there is a layer named {layer.name!r} already; names must be unique in a model, "
                "give one of the two another (name=..., or layer.name = ... before it is used)"
            )
        name = free_name(default_name(type(layer)), taken)
        if layer.name is None:
            layer.name, layer.named_by_model = name, True
        return name

    def reset_states(self) -> None:
        """Let stateful layers begin the next batch with zeros."""
        for _, layer in self.named_layers():
            if hasattr(layer, "reset_states"):
                layer.reset_states()

    # What it consists of.

    @property
    def graph(self) -> Graph:
        """The nodes of the network, between its inputs and outputs.

        Errors: ValueError while the input shape is not known.
        """
        if self._graph is None:
            self._need_built("use it")
        assert self._graph is not None
        return self._graph

    @property
    def layers(self) -> list[Layer]:
        """The layers, from the inputs to the outputs, without what stands between them for masks alone."""
        return [layer for layer in self.graph.layers if not isinstance(layer, LeaveOut)]

    def leave_out(self, values: list[Value]) -> list[Value]:
        """With zeros at the steps that are left out, if a layer inside leaves out any."""
        return left_out_inside(self, values)

    def notice_marks(self, values: list[Value]) -> None:
        """Leave out inside what is left out of the values that come in."""
        tell_inside(self.graph, values)

    @property
    def inputs(self) -> list[Value]:
        """The values that go in."""
        return list(self.graph.inputs)

    @property
    def outputs(self) -> list[Value]:
        """The values that come out."""
        return list(self.graph.outputs)

    @property
    def input(self) -> Any:
        """The value that goes in, or the list of them."""
        return self.inputs[0] if len(self.inputs) == 1 else self.inputs

    @property
    def output(self) -> Any:
        """The value that comes out, or the list of them."""
        return self.outputs[0] if len(self.outputs) == 1 else self.outputs

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, by which a dictionary of arrays is given."""
        return self.keys.inputs or [self._names.get(value.node.layer, value.name) for value in self.graph.inputs]

    def by_input(self, x: Any) -> list[Any]:
        """The data for the inputs, in their order, from an array, a list, or a dictionary by the inputs' names.

        Errors: ValueError for data of other inputs.
        """
        values = self.graph.inputs
        if isinstance(x, dict):
            names = self.input_names
            if set(x) - set(names) or set(names) - set(x):
                raise ValueError(f"{self.label}: the inputs are {', '.join(names)}, got {', '.join(map(str, x))}")
            x = [x[name] for name in names]
        elif len(values) == 1 and not (isinstance(x, (list, tuple)) and len(x) == 1 and np.ndim(x[0]) == len(values[0].shape)):
            x = [x]
        if len(x) != len(values) or isinstance(x, np.ndarray):
            got = "one array" if isinstance(x, np.ndarray) else len(x)
            known = ", ".join(self.input_names)
            raise ValueError(f"{self.label}: expected {len(values)} inputs ({known}), got {got}; give a list or a dict")
        return list(x)

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs: of the layers that make them, numbered where one makes several, or a dictionary's keys."""
        names = list(self.keys.outputs or ())
        for value in () if names else self.graph.outputs:
            names.append(free_name(self._names.get(value.node.layer, value.name), names))
        return names

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name or its position.

        Errors: ValueError when there is no such layer.
        """
        if (name is None) == (index is None):
            raise ValueError("get_layer: give a name or an index")
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(f"get_layer: index {index} is outside the {len(layers)} layers")
            return layers[index]
        for layer in layers:
            if self._names[layer] == name:
                return layer
        raise unknown("layer", name, [self._names[layer] for layer in layers])

    def named_layers(self, prefix: str = "", name: str | None = None) -> Iterator[tuple[str, Layer]]:
        """Every layer with its path, models opened; one that is used in several places under the first of them."""
        if prefix or self._flat is None:
            return self._walk(prefix)
        return iter(self._flat)

    def _walk(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        seen: set[int] = set()
        for layer in self._parts():
            inside = self._names[layer]
            found = layer.named_layers(f"{prefix}{inside}/") if layer.is_container else layer.named_layers(prefix, inside)
            for path, leaf in found:
                if id(leaf) not in seen:
                    seen.add(id(leaf))
                    yield path, leaf

    def _parts(self) -> list[Layer]:
        """The layers without the places where data come in."""
        return [layer for layer in self.layers if not isinstance(layer, InputLayer)] if self._graph else []

    def summary(self, print_fn: Any = None, **_: Any) -> None:
        """Print a table: layers, output shapes, parameters, what is frozen, and the totals.

        `print_fn` gets the text in place of `print`; line lengths and what else other programs set have no meaning here.
        """
        if isinstance(print_fn, int):  # Keras's first argument is the line's length
            print_fn = None
        self._need_layers()
        nodes = [] if self._graph is None else [node for node in self._graph.nodes if not isinstance(node.layer, LeaveOut)]
        branched = any(len(node.inputs) != 1 for node in nodes)
        rows = [("layer (type)", "output shape", "parameters", "connected to" if branched else "")]
        for path, layer in self.named_layers():
            notes = ["frozen"] if not layer.trainable and layer.weights else []
            if branched:
                values = [v for node in nodes if node.layer is layer for v in node.inputs]
                sources = [(v.node.inputs[0] if isinstance(v.node.layer, LeaveOut) else v).name for v in values]
                notes = [", ".join(sources), *notes]
            size = sum(w.size for w in (*layer.parameters.values(), *layer.state.values()))  # layers inside have their own rows
            rows.append((f"{path} ({type(layer).__name__})", str(layer.output_shape), f"{size:,}", "  ".join(notes)))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]
        lines.insert(1, "-" * max(map(len, lines)))
        total, trained = self.count_params(), sum(w.size for w in self.trainable_weights)
        lines += [lines[1], f"total {total:,}: trainable {trained:,}, not trainable {total - trained:,}"]
        (print_fn or print)("\n".join(lines))

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        if self._graph is None:
            return f"<{type(self).__name__}{name}: {len(self._parts())} layers, not built yet>"
        frozen = self.count_params() - sum(w.size for w in self.trainable_weights)
        sizes = f"{self.count_params():,} parameters" + (f", {frozen:,} not trainable" if frozen else "")
        return f"<{type(self).__name__}{name}: {len(self._parts())} layers, {self.input_shape} to {self.output_shape}, {sizes}>"

    def _repr_html_(self) -> str:
        lines = [repr(self)] if self._graph is None else []
        if self._graph is not None:
            self.summary(lines.append)
        return preformatted(lines[0])

    # Parameters. A model has none of its own.

    @property
    def trainable(self) -> bool:
        """Whether any layer is trainable. Setting it sets every layer, and takes effect on the next batch."""
        parts = self._parts() if "_graph" in vars(self) else []
        return any(layer.trainable for layer in parts) if parts else self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in self._parts() if "_graph" in vars(self) else []:
            layer.trainable = value

    @property
    def learns(self) -> bool:
        """Whether training changes something in it now."""
        return any(layer.learns for layer in self._parts())

    @property
    def has_own_call(self) -> bool:
        """Whether it is a class with a `call`, which is followed when there is an input."""
        return type(self).call is not Layer.call

    @property
    def weights(self) -> list[Variable]:
        """All layers' weights."""
        return [w for path, layer in self.named_layers() for learnt in (True, False) for w in layer.own_weights(learnt, path)]

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes now."""
        return [w for path, layer in self.named_layers() if layer.trainable for w in layer.own_weights(True, path)]

    def astype(self, dtype: Any) -> Any:
        """Convert all layers in place."""
        self.dtype = numeric(self, dtype)
        for layer in self.layers if self._graph is None else self._graph.layers:
            if not isinstance(layer, InputLayer) or layer.dtype.kind == "f":
                layer.astype(dtype)
        return self

    def _need_layers(self) -> None:
        known = self._graph.layers if self._graph else self._parts()
        if all(isinstance(layer, InputLayer) for layer in known) and not self.has_own_call:
            raise ValueError("the model has no layers; add() some")

    def _need_built(self, what: str) -> None:
        self._need_layers()
        if not self.built:
            raise ValueError(f"cannot {what}: the model has no weights before its input shape is known; call build((None, ...))")
