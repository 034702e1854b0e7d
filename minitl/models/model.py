"""Model: the part of a graph between some values, as a layer with layers in it.

What it computes in one pass lies in a `minitl.graph.run.Run`; what one does with data is in `trainer`.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from minitl import weights as weight_files
from minitl.backend import get_backend
from minitl.errors import about_arrays, numeric, wrong_shape
from minitl.graph import rules
from minitl.graph.graph import Graph
from minitl.graph.plan import Need, Step
from minitl.graph.run import Run
from minitl.graph.shortcut import Shortcut
from minitl.graph.value import Node, Value, fits, use
from minitl.layers.base import Layer
from minitl.layers.core import InputLayer
from minitl.models.called import followed
from minitl.models.foreign import foreign, foreign_weights, save_foreign
from minitl.models.inputs import as_input, shapes_of
from minitl.models.keys import Keys, keys_in, keys_of, listed
from minitl.models.planning import plan_of
from minitl.models.reopening import open_for
from minitl.models.saving import FORMAT, layers_from, save_model
from minitl.models.step import ModelStep
from minitl.models.structure import Structure
from minitl.models.training_state import restore_backup, save_backup
from minitl.resume import EndedRun
from minitl.serialization import encode


class Model(Structure):
    """The network between some values: `Model(inputs, outputs)`, each a value, a list, or a dictionary of them (`keys`).

    Layers without a name of their own are named by type and position (`conv2d`, `conv2d_1`, `dense`): the same program gives
    the same names. Layers may be shared with other models: what is trained in one is trained in all.
    Attributes: `fuse` and `fold` say whether layers may run as one, and normalisations become part of convolutions at inference;
    with both, small passes are recorded (`minitl.graph.replay`).
    Errors: TypeError for what is no value; ValueError for an output that needs a value which is no input, for an input that no
    output depends on, for names that clash, or a user's layer that is used twice.
    """

    is_container = True
    saved_as: str  # the class's name in files, where it is not its own

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for step in ("train_step", "test_step", "predict_step", "compute_metrics"):
            if hasattr(cls, step):
                raise TypeError(
                    f"{cls.__name__}: fit() does not call a {step}(); use a Loss or a Layer with a call() for what is special, "
                    "or write the loop with train_on_batch"
                )
        if "call" in vars(cls):
            cls.saved_as = "Model"  # what its call gives is a graph like others

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None, trainable: bool = True, **older: Any):
        super().__init__(name=name)
        if set(older) - {"input", "output"}:
            raise TypeError(f"{type(self).__name__}: unknown arguments {', '.join(sorted(older))}")
        inputs, outputs = older.get("input", inputs), older.get("output", outputs)
        self._set_up()
        if inputs is None and self.has_own_call:
            self._starts_trainable = trainable
            return
        if inputs is None or outputs is None:
            raise TypeError(
                f"{type(self).__name__}: models are made from values, Model(inputs, outputs), or are subclasses with a call()"
            )
        self._adopt(Graph(listed(inputs), listed(outputs), type(self).__name__))
        self.keys = Keys(keys_of(inputs), keys_of(outputs))
        if not trainable:
            self.trainable = False

    # Passes. What one computes lies in its Run.

    def new_run(
        self,
        keep: bool = False,
        need_dx: Any = False,
        joint: tuple[int, ...] = (),
        training: bool = False,
        fuse: bool = True,
        added_losses: bool = False,
    ) -> Run:
        """A run of the network: whether it keeps what a backward pass needs, which inputs' gradients it will be asked for (a
        flag for all or one for each), which outputs give their logits to a loss that knows their activation, and whether
        penalties and added losses are counted.
        """
        graph = self.graph
        inputs = (need_dx,) * len(graph.inputs) if isinstance(need_dx, bool) else tuple(need_dx)
        fuse = fuse and self.fuse
        fold = self.fold and not (training or keep)
        kind = (fuse, fold, get_backend(), keep, inputs, joint, added_losses)
        # A plan is made anew only when something that it depends on has changed.
        now = rules.settings(graph)
        if keep:
            now += [layer.trainable for _, layer in self.named_layers()]
        planned_for, plan = self._plans.get(kind, (None, None))
        if plan is None or planned_for != now:
            values = [graph.outputs[position] for position in joint]
            plan = plan_of(graph, fuse, fold, keep, inputs, values, added_losses)
            self._plans[kind] = (now, plan)
        return Run(plan)

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """On arrays: the outputs. On values: a use of the model as a layer, and its output values."""
        if isinstance(x, dict) and x and all(isinstance(part, Value) for part in x.values()):
            x = [x[name] for name in self.input_names]
        outputs = super().__call__(x, training)
        return self.keys.packed(outputs)

    def compute(self, x: Any, training: bool) -> tuple[Any, Any]:
        """The outputs, and the run that made them."""
        run = self.new_run(keep=True, need_dx=True, training=training)
        outputs = run.forward(x if isinstance(x, list) else [x], training)
        return (outputs[0] if len(outputs) == 1 else outputs), run

    def backpropagate(self, dy: Any, cache: Run, need: Need) -> tuple[Any, Any]:
        """The inputs' gradients, and those of all layers inside."""
        dx = cache.backward(list(dy) if isinstance(dy, (list, tuple)) else [dy])
        return (dx[0] if len(dx) == 1 else dx), cache.gradients

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        """dx from dy after `forward`; fills the `gradients` of the layers inside."""
        if self._graph is None or not hasattr(self, "_kept"):
            raise ValueError(f"{self.label}: backward() needs a forward pass before it")
        dx, gradients = self.backpropagate(dy, self._kept, Need())
        for _, leaf in self.named_layers():
            leaf.gradients = gradients.get(leaf, {})
        return dx if need_dx else None

    def prepare(self, x: Any) -> list[np.ndarray]:
        """The arrays for the inputs, in their order and dtypes, from an array, a list, or a dictionary by the inputs' names."""
        if self._graph is None:
            with about_arrays([x] if isinstance(x, np.ndarray) else []):
                self._build_for_data(shapes_of(x))
        arrays = [as_input(part, value, self.label) for part, value in zip(self.by_input(x), self.graph.inputs, strict=True)]
        if self._built_for_data and len(arrays) == 1:
            open_for(self, arrays[0].shape)
        return arrays

    def _run_forward(self, x: Any, training: bool) -> Any:
        y, self._kept = self.compute(x, training)
        return y

    def infer(self, x: Any, training: bool) -> Any:
        """The outputs alone."""
        y = self.shortcut.output(self, x[0]) if not training and len(x) == 1 else None
        if y is not None:
            return y
        outputs = self.new_run(training=True).forward(x, True) if training else self.shortcut.walk(self, x)
        return outputs[0] if len(outputs) == 1 else outputs

    def step(self, node: Node, joint: bool = False) -> Step:
        """The step that runs the model at a node of another's graph."""
        return ModelStep(node, joint)

    @property
    def output_activation(self) -> str | None:  # type: ignore[override]
        """The last layer's, where there is one output."""
        if self._graph is None or len(self._graph.outputs) != 1 or not self._graph.nodes:
            return None
        activation = self._graph.outputs[0].node.layer.output_activation
        return activation if rules.joint(self._graph, 0, activation) else None

    def ensure_built(self, input_shape: Any) -> None:
        """Build, if that has not been done."""
        if not self.built:
            self.build(input_shape)

    def build(self, input_shape: Any = None) -> None:
        """The graph of a subclass's `call`, for inputs of a shape with the batch first, or a list or dictionary of shapes.

        A model of values is built when it is made.
        """
        if self._graph is None:
            if input_shape is None:
                raise ValueError(f"{self.label}: the input shape is not known; call it on data, or build((None, ...))")
            inputs, outputs = followed(self, input_shape)
            self._adopt(Graph(inputs, outputs, type(self).__name__, self._added_losses))
            if not self._starts_trainable:
                self.trainable = False

    def compute_output_shape(self, input_shape: Any) -> Any:
        """What comes out for inputs of some shape, or some shapes."""
        graph = self.graph
        shapes = {v: tuple(s) for v, s in zip(graph.inputs, input_shape if self.takes_several else [input_shape], strict=True)}
        for node in graph.nodes:
            several: Any = [shapes[value] for value in node.inputs]
            out = node.layer.compute_output_shape(several if node.layer.takes_several else several[0])
            shapes.update(zip(node.outputs, out if len(node.outputs) > 1 else [out], strict=True))
        found = [shapes[value] for value in graph.outputs]
        return found if len(found) > 1 else found[0]

    def _connect(self, values: list[Value], training: bool | None) -> Any:
        if self._graph is None:
            self._build_for_data(values[0].shape if len(values) == 1 else [value.shape for value in values])
        elif self._built_for_data and len(values) == 1:
            open_for(self, values[0].shape)
        if len(values) != len(self.graph.inputs):
            raise ValueError(
                f"{self.label}: has {len(self.graph.inputs)} inputs ({', '.join(self.input_names)}), got {len(values)}"
            )
        for value, own in zip(values, self.graph.inputs, strict=True):
            if not fits(own.shape, value.shape):
                raise wrong_shape(self.label, own.shape, value.shape, "it was built for other inputs; use a new layer here")
        values = self.leave_out(values)
        self.notice_marks(values)
        shapes = self.compute_output_shape([v.shape for v in values] if self.takes_several else values[0].shape)
        shapes = shapes if len(self.graph.outputs) > 1 else [shapes]
        node = Node(self, values, shapes, [value.dtype for value in self.graph.outputs], training)
        self.remember(node)
        return node.outputs[0] if len(node.outputs) == 1 else list(node.outputs)

    # Files. What a model's file holds is in minitl.saving.

    def save_backup(self, filepath: str | os.PathLike) -> None:
        """Write what a run of `fit` needs to go on; for `callbacks.BackupAndRestore`."""
        save_backup(self, filepath)

    def restore_backup(self, filepath: str | os.PathLike) -> None:
        """Bring the model, its optimizer and its training to where a backup stands.

        Errors: ValueError for a file that is no backup, or one of another network or optimizer; the model is unchanged then.
        """
        self._need_built("go on from a backup")
        restore_backup(self, filepath)

    def to_json(self, **settings: Any) -> str:
        """The architecture as JSON, for `model_from_json`; `settings` go to `json.dumps`."""
        import json

        return json.dumps({"format": FORMAT, "model": encode(self)}, **settings)

    def to_yaml(self) -> str:
        """Refused: YAML can run code.

        Errors: RuntimeError, always.
        """
        raise RuntimeError("to_yaml: YAML can run code when it is read; use to_json() and model_from_json()")

    def save_weights(self, filepath: str | os.PathLike, overwrite: bool = True, save_format: Any = None) -> None:
        """Write all weights to a file, atomically, by layer and parameter name; in the format that the name's ending says."""
        self._need_built("save")
        if foreign(filepath):
            save_foreign(self, filepath, weights_only=True)
        else:
            weight_files.write(filepath, weight_files.named_weights(self))

    def load_weights(
        self, filepath: str | os.PathLike, strict: bool = True, by_name: bool = False, skip_mismatch: bool = False
    ) -> Any:
        """Load weights by name, and return a report of what was loaded.

        Strict, the default: every weight of the model must be in the file, in its shape, and nothing else. With
        strict=False what fits is loaded, and the report printed. Keras's by_name=True allows missing and unexpected
        entries, its skip_mismatch=True also other shapes. Files of other programs (.h5, .keras, .safetensors, .pth ...) are
        read by `minitl.interop`.
        Errors: ValueError listing all that does not fit, or when nothing fits; the model is unchanged then.
        """
        self._need_built("load weights")
        if foreign(filepath):
            return foreign_weights(self, filepath, by_name or not strict)
        arrays, _ = weight_files.read(filepath)
        extra = (weight_files.OPTIMIZER, weight_files.TRAINING)
        arrays = {key: array for key, array in arrays.items() if not key.startswith(extra)}
        report = weight_files.load_into(self, arrays, str(filepath), not strict or by_name, not strict or skip_mismatch)
        if report.missing or report.unexpected or report.shape_differs:
            print(report)
        return report

    def save(self, filepath: str | os.PathLike, overwrite: bool = True, **settings: Any) -> None:
        """Write architecture, weights and, when compiled, optimizer, loss and metrics with their state to one file.

        Names that end in .keras, .h5 or .onnx give files of those programs, without the optimizer's memory. `include_optimizer`
        and `save_format` of other programs have no meaning here.
        Errors: FileExistsError for a file that is there, when `overwrite` is false.
        """
        if set(settings) - {"include_optimizer", "save_format", "zipped"}:
            raise TypeError(f"save: unknown arguments {', '.join(sorted(settings))}")
        if not overwrite and os.path.exists(filepath):
            raise FileExistsError(f"save: {filepath} is there already")
        if foreign(filepath):
            save_foreign(self, filepath, weights_only=False)
        else:
            save_model(self, filepath)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the model: its layers, and how they are connected."""
        described, layers = self.graph.described(), list(self.graph.layers)
        places = {layer: place for place, layer in enumerate(layers)}
        return {
            "name": self.name,
            "dtype": self.dtype.name,
            "layers": [self._layer_config(layer) for layer in layers],
            "inputs": [places[layer] for layer, _, _ in described["entries"]],
            "nodes": [
                {"layer": places[layer], "inputs": takes, **({} if fixed is None else {"training": fixed})}
                for layer, takes, fixed in described["nodes"]
            ],
            **{key: described[key] for key in ("outputs", "added_losses") if described[key]},
            **self.keys.described(),
        }

    def _layer_config(self, layer: Layer) -> dict[str, Any]:
        return {**encode(layer), "name": self._names[layer], "trainable": layer.trainable}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """The model that `get_config` described, with new weights."""
        layers, label = layers_from(config["layers"], custom_objects), f"model {config.get('name')!r}"
        values: list[Value] = []
        for place in config["inputs"]:
            layer = _listed_at(layers, place, f"{label}: its inputs refer to layer")
            if not isinstance(layer, InputLayer):
                raise ValueError(f"{label}: its input {place} is {layer.label}, no InputLayer")
            values.append(layer.value)
        count = len(values)
        for position, node in enumerate(config["nodes"]):
            what = f"{label}: node {position} refers to value"
            several = [_listed_at(values, number, what) for number in node["inputs"]]
            layer = _listed_at(layers, node["layer"], f"{label}: node {position} refers to layer")
            if isinstance(layer, InputLayer):
                raise ValueError(f"{label}: node {position} refers to {layer.label}, which computes nothing")
            values += use(layer, several, node.get("training"))
        places = {"outputs": config["outputs"], "added_losses": config.get("added_losses", [])}
        ends = {key: [_listed_at(values, n, f"{label}: its {key} refer to value") for n in of] for key, of in places.items()}
        keys = keys_in(config, {"input": count, "output": len(ends["outputs"])}, label)
        model = cls(*keys.ends(values[:count], ends["outputs"]), name=config.get("name"))
        if ends["added_losses"]:
            model._adopt(Graph(values[:count], ends["outputs"], label, ends["added_losses"]))
        model.dtype = numeric(model, config.get("dtype", "float32"))
        return model

    def __getstate__(self) -> dict[str, Any]:
        run = self.training_run and EndedRun(self.training_run.get_state())  # without the data
        return {**super().__getstate__(), "_plans": {}, "shortcut": Shortcut(), "training_run": run}


def _listed_at(items: list[Any], place: Any, what: str) -> Any:
    if not (isinstance(place, int) and 0 <= place < len(items)):
        raise ValueError(f"{what} {place!r}, which is not made before it")
    return items[place]
