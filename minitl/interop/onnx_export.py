"""A Model as an ONNX graph; what each kind of layer becomes is in `onnx_layers`.

ONNX keeps channels first. So the graph turns images once where they come in, and back where a layer asks for the order in which
minitl has them (flatten, reshape, outputs). The number of images stays open.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from minitl.functions import function_name
from minitl.interop.layouts import contiguous
from minitl.interop.needs import need
from minitl.interop.onnx_activations import write_activation
from minitl.interop.onnx_array_functions import write_array_function
from minitl.interop.onnx_attention import WRITERS_OF_ATTENTION
from minitl.interop.onnx_layers import ACTIVATIONS_OF_THEIR_OWN, WRITERS, Tensor
from minitl.interop.onnx_sequences import WRITERS_OF_SEQUENCES
from minitl.layers.array_function import ArrayFunction
from minitl.layers.base import Layer
from minitl.ops.window import slide

EVERY_WRITER = {**WRITERS, **WRITERS_OF_SEQUENCES, **WRITERS_OF_ATTENTION, ArrayFunction: write_array_function}

OLDEST, NEWEST = 17, 21


def export_onnx(model: Any, filepath: str | os.PathLike, opset: int = 17) -> None:
    """Write a model as ONNX, for inference: its outputs in ONNX Runtime are the model's, inputs are (N, H, W, C) as here.

    Errors: ValueError for a layer that ONNX has nothing for, or an opset outside 17 .. 21; OSError from the file system.
    """
    from minitl.weights import atomic_file, check_target

    onnx = need("onnx")
    model._need_built("export")
    check_target(filepath)
    if not OLDEST <= opset <= NEWEST:
        raise ValueError(f"export_onnx: opset must be {OLDEST} .. {NEWEST}, got {opset}")
    writer = Writer(onnx, opset)
    names = [writer.input(name, value) for name, value in zip(model.input_names, model.graph.inputs, strict=True)]
    made = writer.network(model, names)
    outputs = [
        writer.output(name, value, out)
        for name, value, out in zip(_unique(model.output_names), model.graph.outputs, made, strict=True)
    ]
    graph = onnx.helper.make_graph(writer.nodes, model.name or "model", writer.inputs, outputs, writer.constants)
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], producer_name="minitl")
    proto.ir_version = 8
    onnx.checker.check_model(proto)
    with atomic_file(filepath) as file:
        file.write(proto.SerializeToString())


class Writer:
    """A graph that grows node by node."""

    def __init__(self, onnx: Any, opset: int):
        self.onnx, self.opset = onnx, opset
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.constants: list[Any] = []
        self.count = 0
        self.of_whole_numbers: set[str] = set()  # inputs

    # Pieces of a graph.

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node with one output, and return its name."""
        return self.outputs_of(kind, inputs, 1, **attributes)[0]

    def outputs_of(self, kind: str, inputs: list[str], count: int, **attributes: Any) -> list[str]:
        """Add a node, and return the names of its outputs."""
        self.count += 1
        name = f"{kind.lower()}_{self.count}"
        names = [name if k == 0 else f"{name}_{k}" for k in range(count)]
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, names, name=name, **attributes))
        return names

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        """Add a constant."""
        self.count += 1
        name = f"constant_{self.count}"
        self.constants.append(self.onnx.numpy_helper.from_array(contiguous(np.asarray(array, dtype)), name))
        return name

    def whole(self, numbers: Any) -> str:
        """Add whole numbers."""
        return self.constant(numbers, np.int64)

    def reduced(self, kind: str, name: str, keepdims: int, axes: Any = (-1,)) -> str:
        """Add a ReduceMax or the like over axes, which are an attribute before opset 18, and an input since; of sums always."""
        if self.opset < 18 and kind != "ReduceSum":
            return self.node(kind, [name], axes=list(axes), keepdims=keepdims)
        return self.node(kind, [name, self.whole(list(axes))], keepdims=keepdims)

    def first(self, x: Tensor) -> str:
        """The tensor with its channels first."""
        if x.first or x.axes < 3:
            return x.name
        return self.node("Transpose", [x.name], perm=[0, x.axes - 1, *range(1, x.axes - 1)])

    def last(self, x: Tensor) -> str:
        """The tensor with its channels last."""
        return self.node("Transpose", [x.name], perm=[0, *range(2, x.axes), 1]) if x.first and x.axes > 2 else x.name

    def input(self, name: str, value: Any) -> Tensor:
        """An input of the graph."""
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        shape = ["N", *(n if n is not None else f"{name}_{axis}" for axis, n in enumerate(value.shape[1:], 1))]
        self.inputs.append(self.onnx.helper.make_tensor_value_info(name, kind, shape))
        if value.dtype.kind != "f":
            self.of_whole_numbers.add(name)
        entry = Tensor(name, value.shape, False)
        if entry.axes < 3 or value.dtype.kind != "f":
            return entry
        return Tensor(self.first(entry), value.shape, True)  # turned once, for all that use it

    def output(self, name: str, value: Any, made: Tensor) -> Any:
        """An output of the graph, with its channels last."""
        taken = {info.name for info in self.inputs}
        name = f"{name}_output" if name in taken else name
        self.nodes.append(self.onnx.helper.make_node("Identity", [self.last(made)], [name], name=f"{name}_identity"))
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        shape = ["N", *(n if n is not None else f"{name}_{axis}" for axis, n in enumerate(value.shape[1:], 1))]
        return self.onnx.helper.make_tensor_value_info(name, kind, shape)

    # Networks and layers.

    def network(self, model: Any, inputs: list[Tensor]) -> list[Tensor]:
        """All nodes of a model; models inside it are opened."""
        made = dict(zip(model.graph.inputs, inputs, strict=True))
        for node in model.graph.of_outputs:
            x = [made[value] for value in node.inputs]
            if node.layer.is_container:
                outputs = self.network(node.layer, x)
            else:
                outputs = self.layer(node.layer, x, [value.shape for value in node.outputs])
            made.update(zip(node.outputs, outputs, strict=True))
        return [made[value] for value in model.graph.outputs]

    def layer(self, layer: Any, x: list[Tensor], shapes: list[Any]) -> list[Tensor]:
        """What a layer does, as nodes."""
        for kind in type(layer).__mro__:
            write = EVERY_WRITER.get(kind)
            if write is not None and (kind is type(layer) or not layer.is_users):
                written = write(self, layer, x if layer.takes_several else x[0])
                if isinstance(written, list):
                    return [Tensor(name, shape, first) for (name, first), shape in zip(written, shapes, strict=True)]
                made = Tensor(written[0], shapes[0], written[1])
                activation = getattr(layer, "activation", None)
                if activation not in (None, "linear") and kind not in ACTIVATIONS_OF_THEIR_OWN:
                    made = Tensor(self.activation(activation, made), made.shape, made.first)
                return [made]
        raise ValueError(f"{layer.label}: ONNX has nothing for this layer; cut the model below it, or build it from other layers")

    def activation(self, name: Any, x: Tensor) -> str:
        """An activation by its name, or as the layer that it is."""
        if isinstance(name, Layer):
            return self.layer(name, [x], [x.shape])[0].name
        if callable(name):
            raise ValueError(
                f"activation {function_name(name)}: ONNX has nothing for a function of your own; use one that has a name"
            )
        return write_activation(self, name, x.name, 1 if x.first else -1)

    def pads(self, x: Tensor, window: Any, strides: Any, padding: str) -> dict[str, Any]:
        """The border of a sliding window, as ONNX wants it."""
        if padding == "valid":
            return {}
        if None in x.shape[1:-1]:
            return {"auto_pad": "SAME_UPPER"}
        axes = [slide(n, w, s, padding) for n, w, s in zip(x.shape[1:-1], window, strides, strict=True)]
        return {"pads": [a.before for a in axes] + [a.after for a in axes]}


def _unique(names: list[str]) -> list[str]:
    return [name if names.index(name) == i else f"{name}_{i}" for i, name in enumerate(names)]
