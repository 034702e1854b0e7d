"""Layers as Keras 3 describes them: {"class_name", "config", "inbound_nodes": [{"args": [tensor or list of them], "kwargs"}]}."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl import constraints, initializers, regularizers
from minitl import layers as all_layers
from minitl.interop.keras_attention import called
from minitl.interop.keras_operations import called_on, described_operation
from minitl.layers import (
    RNN,
    AdditiveAttention,
    ArrayFunction,
    Attention,
    Bidirectional,
    ChannelPadding,
    ConstantOperation,
    Discretization,
    EinsumDense,
    InputLayer,
    Lambda,
    LayerScale,
    LeakyReLU,
    MultiHeadAttention,
    Reshape,
    RMSNormalization,
    SpatialDropout1D,
    SpatialDropout2D,
    Transitions,
    ValuePadding2D,
)  # fmt: skip
from minitl.layers.attention import Attends
from minitl.layers.base import Layer
from minitl.layers.known import is_ours
from minitl.layers.masking import LeaveOut, LeaveOutMasked
from minitl.layers.recurrent import Recurrent
from minitl.models import Sequential, TimeDistributedModel
from minitl.regularizers import L1L2, OrthogonalRegularizer
from minitl.serialization import encode

# Layers that Keras does not have, and arguments that it does not take, or that say there what they do not say here.
NOT_OF_KERAS = (ConstantOperation, Lambda, Transitions, ValuePadding2D)
WITH_CALL = (
    AdditiveAttention,
    Attention,
    EinsumDense,
    LayerScale,
    MultiHeadAttention,
    RMSNormalization,
)  # Keras's, written as a user's layers are
PLACES = {"layers": all_layers, "initializers": initializers, "regularizers": regularizers, "constraints": constraints}
LEFT_OUT: dict[type[Layer], tuple[str, ...]] = {
    Discretization: ("trainable", "activity_regularizer"), LeakyReLU: ("alpha",),
    Reshape: ("channels_first",),
    SpatialDropout1D: ("trainable",), SpatialDropout2D: ("trainable",),
}  # fmt: skip


def described(model: Any) -> dict[str, Any]:
    """A model as Keras 3 describes it.

    Errors: ValueError for a layer that Keras does not have, and for added losses.
    """
    if type(model).__name__ == "Sequential":
        shape = model.input_shape
        layers = [_input_entry("input_layer", shape, model.graph.inputs[0].dtype)]
        for layer in model.layers:
            if not isinstance(layer, InputLayer):
                layers += [{k: v for k, v in entry.items() if k != "inbound_nodes"} for entry in _entries(model, layer)]
        return _entry(
            "keras", "Sequential", {"name": model.name or "sequential", "layers": layers, "build_input_shape": _listed(shape)}
        )
    if model.graph.added_losses:
        advice = "save it as .npz, or save Model(model.inputs, model.outputs)"
        raise ValueError(f"{model.label}: files of Keras have no place for what add_loss() was given; {advice}")
    made: dict[Any, tuple[str, int, int]] = {}
    layers = []
    for value in model.graph.inputs:
        name = model._names[value.node.layer]
        made[value] = (name, 0, 0)
        layers.append({**_input_entry(name, value.shape, value.dtype), "name": name, "inbound_nodes": []})
    uses: dict[Any, int] = {}
    masks: dict[Any, Any] = {}  # those that a call was given, by the values with zeros in them
    known: dict[Any, list[dict[str, Any]]] = {}
    for node in model.graph.nodes:
        layer = node.layer
        if isinstance(layer, LeaveOut):  # Keras's masks do so by themselves, or at the call of the layer behind
            made[node.outputs[0]] = made[node.inputs[0]]
            if isinstance(layer, LeaveOutMasked):
                masks[node.outputs[0]] = _tensor(node.inputs[1], made[node.inputs[1]])
            continue
        if layer not in known:
            known[layer] = _entries(model, layer)
            layers += known[layer]
        tensors = [_tensor(value, made[value]) for value in node.inputs]
        number = uses.get(layer, 0)
        uses[layer] = number + 1
        for place, entry in enumerate(known[layer]):
            several = layer.takes_several or (layer.is_container and len(tensors) > 1)
            args: Any = [tensors] if several and place == 0 else tensors
            if isinstance(layer, ArrayFunction):
                args = called_on(layer, tensors)
            kwargs: dict[str, Any] = {} if node.training is None else {"training": node.training}
            if several and isinstance(layer, Recurrent):
                args, kwargs["initial_state"] = tensors[:1], tensors[1:]
            if isinstance(layer, Attends):
                args, more = called(layer, tensors)
                kwargs.update(more)
            if any(value in masks for value in node.inputs):
                given = [masks.get(value) for value in node.inputs]
                kwargs["mask"] = given[:2] if isinstance(layer, Attends) else given[0]
            entry["inbound_nodes"].append({"args": args, "kwargs": kwargs})
            shape = entry.pop("_shape", node.outputs[0].shape)
            tensors = [_tensor_of(shape, node.outputs[0].dtype, (entry["name"], number, 0))]
        for index, value in enumerate(node.outputs):
            made[value] = (known[layer][-1]["name"], number, index)
    # Keras numbers layers in the order in which it lists them, which is ours.
    places = {layer: place for place, layer in enumerate(model.layers)}
    of_entry = {id(entry): places[layer] for layer, entries in known.items() for entry in entries}
    of_input = {model._names[value.node.layer]: places.get(value.node.layer, -1) for value in model.graph.inputs}
    layers.sort(key=lambda entry: of_entry.get(id(entry), of_input.get(entry["name"], -1)))
    inputs = [[*made[value]] for value in model.graph.inputs]
    outputs = [_output_place(value.node.layer, made[value]) for value in model.graph.outputs]
    ends = [end[0] if isinstance(end, list) and len(end) == 1 else end for end in model.keys.ends(inputs, outputs)]
    return _entry("keras.src.models.functional", "Functional", {
        "name": model.name or "functional", "trainable": True, "layers": layers,
        "input_layers": ends[0], "output_layers": ends[1],
    })  # fmt: skip


def keras_classes(layer: Any) -> list[str]:
    """Keras's class for a layer, or those that stand for it there."""
    if isinstance(layer, TimeDistributedModel):
        return ["TimeDistributed"]
    if layer.is_container:
        return ["Sequential" if isinstance(layer, Sequential) else "Functional"]
    return ["Permute", "ZeroPadding2D", "Permute"] if isinstance(layer, ChannelPadding) else [type(layer).__name__]


def _entry(module: str, class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def _input_entry(name: str, shape: Any, dtype: Any) -> dict[str, Any]:
    return _entry("keras.layers", "InputLayer", {"batch_shape": _listed(shape), "dtype": np.dtype(dtype).name, "name": name})


def _entries(model: Any, layer: Any) -> list[dict[str, Any]]:
    """What describes a layer: one entry, or several where Keras has no such layer."""
    name = model._names[layer]
    if isinstance(layer, TimeDistributedModel):
        (inside,) = _entries(layer, layer.layer)
        del inside["inbound_nodes"]
        config = {"name": name, "trainable": True, "dtype": layer.dtype.name, "layer": inside}
        return [{**_entry("keras.layers", "TimeDistributed", config), "name": name, "inbound_nodes": []}]
    if layer.is_container:
        inner = described(layer)
        inner["config"]["name"] = name
        return [{**inner, "name": name, "inbound_nodes": []}]
    if isinstance(layer, ArrayFunction) and not isinstance(model, Sequential):
        return [{**described_operation(layer, name), "name": name, "inbound_nodes": []}]
    backwards = isinstance(layer, Bidirectional) and layer.layer.go_backwards
    if layer.has_call and type(layer) not in WITH_CALL and not is_ours(type(layer)):
        return [{**_own_entry(layer, name), "name": name, "inbound_nodes": []}]
    if isinstance(layer, (ArrayFunction, *NOT_OF_KERAS)) or backwards or (layer.is_users and type(layer) not in WITH_CALL):
        if isinstance(layer, RNN):
            advice = "save to .npz, or build it of LSTM and GRU layers"
            raise ValueError(f"{layer.label}: cells are not written to files of Keras; {advice}")
        raise ValueError(f"{layer.label}: Keras does not have this layer, so that it cannot be written to a file of Keras")
    if isinstance(layer, ChannelPadding):  # channels become rows, get their zeros, and become channels again
        n, h, w, c = layer.input_shape
        a, b = layer.padding
        parts: list[tuple[str, str, dict[str, Any], Any]] = [
            ("Permute", f"{name}_turned", {"dims": [3, 2, 1]}, (n, c, w, h)),
            ("ZeroPadding2D", f"{name}_padded", {"padding": [[a, b], [0, 0]]}, (n, a + c + b, w, h)),
            ("Permute", name, {"dims": [3, 2, 1]}, (n, h, w, a + c + b)),
        ]
        return [
            {**_entry("keras.layers", kind, {"name": own, **config}), "name": own, "inbound_nodes": [], "_shape": shape}
            for kind, own, config, shape in parts
        ]
    module = "keras.src.applications.convnext" if isinstance(layer, LayerScale) else "keras.layers"
    return [{**_entry(module, type(layer).__name__, _settings(layer, name)), "name": name, "inbound_nodes": []}]


def _own_entry(layer: Any, name: str) -> dict[str, Any]:
    """What describes a layer of the user's own: its class's name, under which it is found again, and its `get_config`."""
    kind = type(layer)
    config = {"name": name, "trainable": bool(layer.trainable), "dtype": layer.dtype.name}
    config.update({key: _located(encode(value)) for key, value in layer.get_config().items() if key not in config})
    return {"module": kind.__module__, "class_name": kind.__name__, "config": config, "registered_name": kind.__name__}


def _located(value: Any) -> Any:
    """What `encode` gave, with the modules in which Keras finds the classes of layers, initializers and the like inside."""
    if isinstance(value, list):
        return [_located(item) for item in value]
    if not isinstance(value, dict):
        return value
    value, name = {key: _located(item) for key, item in value.items()}, str(value.get("class_name"))
    if name == "function":
        return {**value, "module": "builtins", "registered_name": "function"}
    module = next((place for place, known in PLACES.items() if isinstance(getattr(known, name, None), type)), None)
    return value if module is None or "module" in value else {**value, "module": f"keras.{module}", "registered_name": None}


def _settings(layer: Any, name: str) -> dict[str, Any]:
    """A layer's arguments as Keras writes them; initializers are left out, since the weights come with the file."""
    config: dict[str, Any] = {"name": name, "trainable": bool(layer.trainable), "dtype": layer.dtype.name}
    for key, value in layer.get_config().items():
        if key.endswith("_initializer") or key in ("name", "trainable", "dtype"):
            continue
        if key == "zero_output_for_mask":  # Keras would give zeros for the last step, too, if that is left out
            value = value and layer.return_sequences
        if key in ("use_causal_mask", "return_attention_scores"):  # of a call, there
            continue
        if key.endswith("_regularizer") and value is not None:
            if isinstance(value, L1L2):
                value = _entry("keras.regularizers", "L1L2", {"l1": float(value.l1), "l2": float(value.l2)})
            elif type(value) is OrthogonalRegularizer:
                value = _entry("keras.regularizers", "OrthogonalRegularizer", value.get_config())
            else:
                raise ValueError(f"{layer.label}: a regularizer of your own cannot be written to a file of Keras; leave it out")
        if key.endswith("activation") and value == "keras2_hard_sigmoid":
            advice = "save to .npz or ONNX, or take hard_sigmoid, which is another function"
            raise ValueError(f"{layer.label}: Keras 3 does not have the activation {value}; {advice}")
        inner = getattr(layer, key, None)
        if isinstance(inner, Layer):  # in Bidirectional and TimeDistributed
            kind = type(inner).__name__
            value = _entry("keras.layers", kind, _settings(inner, inner.name or kind.lower()))
        config[key] = _located(encode(value))
    return {key: value for key, value in config.items() if key not in LEFT_OUT.get(type(layer), ())}


def _output_place(layer: Any, place: tuple[str, int, int]) -> list[Any]:
    """A place among the outputs; Keras counts the making of a functional model as its first use there."""
    name, use, index = place
    return [name, use + (keras_classes(layer) == ["Functional"]), index]


def _tensor(value: Any, history: tuple[str, int, int]) -> dict[str, Any]:
    return _tensor_of(value.shape, value.dtype, history)


def _tensor_of(shape: Any, dtype: Any, history: tuple[str, int, int]) -> dict[str, Any]:
    config = {"shape": _listed(shape), "dtype": np.dtype(dtype).name, "keras_history": list(history)}
    return {"class_name": "__keras_tensor__", "config": config}


def _listed(shape: Any) -> list[Any]:
    return [None if n is None else int(n) for n in shape]
