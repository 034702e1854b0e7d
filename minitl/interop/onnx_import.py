"""An ONNX graph as a Model: convolutional networks, with channels moved from the front to the back.

A tensor of the graph is a value here together with the order of its axes there, so that transpositions cost nothing: images
are (N, H, W, C) here and (N, C, H, W) there, order (0, 2, 3, 1). What depends on constants alone is computed at once.
"""

from __future__ import annotations

import collections
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from minitl.errors import unknown
from minitl.graph.value import Value
from minitl.interop.needs import need
from minitl.interop.onnx_batches import REPEATED, SHAPED, for_one_sample
from minitl.interop.onnx_operators import READERS
from minitl.interop.onnx_tensors import Tensor, evaluated, image_order
from minitl.layers import Input, Permute
from minitl.layers.array_function import only_batch
from minitl.layers.reserve import limited_weights
from minitl.models import Model

MOST_TRIED = 1 << 22  # numbers in the inputs of a graph that is tried with the batch that it declares
MOST_BYTES = 1 << 30  # of constants that the graph computes: a line of a file can ask for any size


def import_onnx(filepath: Any) -> Model:
    """The Model of an ONNX file, or of an `onnx.ModelProto`. Images go in and come out as (N, H, W, C).

    An input of four axes is taken for images with channels first, unless the graph itself turns them. The model's
    `onnx_orders` says, for every input and output, where its axes stood there. What holds only for the batch that the graph
    declares, such as a sum with a constant that differs from sample to sample, becomes a model for that batch alone. A node in
    training mode stays in it: batch statistics, dropped entries.
    Errors: FileNotFoundError; ValueError for a damaged file, or an operator, an attribute or a use of the batch's axis that is
    not known here, named with its node.
    """
    onnx = need("onnx")
    proto = _read(onnx, Path(filepath)) if isinstance(filepath, (str, os.PathLike)) else filepath
    for entry in proto.graph.initializer:
        if entry.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError(f"import_onnx: the constant {entry.name!r} is in another file; save the model in one file")
    try:
        reader = Reader(onnx, proto)
        try:
            return reader.model()
        except ValueError:
            batch = reader.declared_batch()
            if batch is None:
                raise
        with only_batch(batch):
            return Reader(onnx, proto, batch).model()
    except ValueError:
        raise
    except Exception as error:  # what the checker lets pass, such as a dtype that there is not
        raise ValueError(f"import_onnx: the graph is damaged ({type(error).__name__}: {error}); export it again") from error


def _read(onnx: Any, path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}")
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
        onnx.checker.check_model(proto, full_check=False)
    except Exception as error:  # protobuf's and the checker's own kinds
        raise ValueError(f"{path} is damaged or no ONNX file ({str(error).splitlines()[0] if str(error) else error})") from error
    return proto


class Reader:
    """What is known while a graph is read: tensors and constants by name; `only_batch` is the one batch that it is read for."""

    def __init__(self, onnx: Any, proto: Any, only_batch: int | None = None):
        self.onnx, self.graph, self.only_batch = onnx, proto.graph, only_batch
        self.opset = max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=1)
        self.constants = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
        self.tensors: dict[str, Tensor] = {}
        self.makers = {name: node for node in self.graph.node for name in node.output}
        self.used = collections.Counter(name for node in self.graph.node for name in node.input)
        self.used.update(info.name for info in self.graph.output)
        self.batch: dict[str, int] = {}
        self.rows: dict[Value, int] = {}
        self.left, self.numbers = MOST_BYTES, MOST_BYTES // 4

    def model(self) -> Model:
        """The whole graph."""
        inputs = [self._input(info) for info in self.graph.input if info.name not in self.constants]
        for node in self.graph.node:
            # Weights are made of constants, several times at most: a damaged shape asks for no more than that.
            with limited_weights(self.numbers):
                self._read(node)
        outputs = []
        for info in self.graph.output:
            if info.name not in self.tensors:
                raise ValueError(f"import_onnx: the output {info.name!r} depends on no input")
            outputs.append(self.tensors[info.name])
        model = Model([t.value for t in inputs], [t.value for t in outputs], name=_name(self.graph.name) or "onnx")
        model.onnx_orders = {"inputs": [t.order for t in inputs], "outputs": [t.order for t in outputs]}
        return model

    def declared_batch(self) -> int | None:
        """The number of samples that all inputs declare, if one can be tried."""
        found = set(self.batch.values())
        sizes = [size * math.prod(n or 1 for n in self.tensors[name].shape) for name, size in self.batch.items()]
        return found.pop() if len(found) == 1 and sum(sizes) <= MOST_TRIED else None

    def constant(self, name: str) -> np.ndarray | None:
        """A constant, or None for what depends on an input."""
        return self.constants.get(name)

    def known(self, node: Any, place: int) -> Any:
        """An optional input that must be a constant.

        Errors: ValueError when it depends on the inputs.
        """
        if place >= len(node.input) or not node.input[place]:
            return None
        if node.input[place] not in self.constants:
            raise self.refused(node, f"input {node.input[place]!r} depends on the data; only constants are read there")
        return self.constants[node.input[place]]

    def takes_more(self, node: Any) -> bool:
        """Whether anything takes more of a node than its first output."""
        return any(name in self.used for name in node.output[1:])

    def refused(self, node: Any, why: str) -> ValueError:
        """What an error says."""
        return ValueError(f"import_onnx: node {node.name or node.output[0]!r} ({node.op_type}): {why}")

    def plain(self, tensor: Tensor) -> Value:
        """A tensor as a value whose axes stand as they do there."""
        return self.ordered(tensor, tuple(range(len(tensor.order))))

    def image(self, tensor: Tensor) -> Value:
        """A tensor with channels first there as a value with channels last."""
        return self.ordered(tensor, image_order(len(tensor.order)))

    def ordered(self, tensor: Tensor, order: tuple[int, ...]) -> Value:
        """A tensor as a value in some order of axes."""
        if tensor.order == order:
            return tensor.value
        if tensor.value.shape[0] is not None:  # no batch in front, which a layer would leave where it is
            turned: Any = np.transpose(tensor.value, [tensor.order.index(axis) for axis in order])
            return turned
        if tensor.order[0] != 0 or order[0] != 0:
            raise ValueError("import_onnx: the batch must stay the first axis")
        return Permute([tensor.order.index(axis) for axis in order[1:]])(tensor.value)

    def _input(self, info: Any) -> Tensor:
        kind = self.onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        if kind.kind not in "fiub":
            raise ValueError(f"import_onnx: the input {info.name!r} holds {kind}, not numbers")
        dims = [d.dim_value if d.HasField("dim_value") else None for d in info.type.tensor_type.shape.dim]
        if not dims:
            raise ValueError(f"import_onnx: the input {info.name!r} has no axis; a batch is needed")
        if dims[0] is not None:
            self.batch[info.name] = dims[0]
        takers = [n for n in self.graph.node if info.name in n.input]
        axes = len(dims)
        to_first = (0, axes - 1, *range(1, axes - 1))
        turned = bool(takers) and all(
            n.op_type == "Transpose" and tuple(self.attributes(n).get("perm", ())) == to_first for n in takers
        )
        order = tuple(range(axes)) if axes < 3 or turned else image_order(axes)
        shape = [dims[axis] for axis in order[1:]]
        tensor = Tensor(Input(shape, dtype="float32" if kind.kind == "f" else kind, name=_name(info.name)), order)
        self.tensors[info.name] = tensor
        return tensor

    def attributes(self, node: Any) -> dict[str, Any]:
        """A node's attributes by name; texts as text."""
        return {a.name: _text(self.onnx.helper.get_attribute_value(a)) for a in node.attribute}

    def _read(self, node: Any) -> None:
        if node.domain not in ("", "ai.onnx"):
            raise self.refused(node, f"is of the domain {node.domain!r}, which is not known here")
        used = [name for name in node.input if name]
        if all(name in self.constants for name in used) and node.op_type not in ("Loop", "If", "Scan"):
            self._fold(node)
            return
        if node.op_type not in READERS:
            raise ValueError(f"{self.refused(node, str(unknown('operator', node.op_type, READERS)))}")
        try:
            made = READERS[node.op_type](self, node, self.attributes(node))
        except (ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError) as error:
            if "import_onnx: node" in str(error):
                raise
            raise self.refused(node, str(error)) from error
        if isinstance(made, np.ndarray):
            self.constants[node.output[0]] = made
        else:
            for name, tensor in zip(node.output, made if isinstance(made, list) else [made], strict=False):
                self.tensors[name] = tensor

    def _fold(self, node: Any) -> None:
        """Compute what depends on constants alone."""
        inputs = {name: self.constants[name] for name in node.input if name}
        if node.op_type in SHAPED:
            inputs[node.input[-1]] = for_one_sample(node.op_type, inputs[node.input[-1]])
        if node.op_type in REPEATED:
            sizes = [int(n) for n in inputs[node.input[-1]].reshape(-1)]
            if 4 * int(np.prod(sizes, dtype=object)) > self.left:
                raise self.refused(node, f"asks for a constant of {sizes}, more than {MOST_BYTES >> 20} MB in all")
        try:
            made = evaluated(self, node, inputs)
        except Exception as error:  # anything that a definition raises, such as for a shape with the open batch in it
            raise self.refused(node, f"cannot be computed ({error})") from error
        for name, array in zip((n for n in node.output if n), made, strict=True):
            self.left -= np.asarray(array).nbytes
            if self.left < 0:
                raise self.refused(node, f"the constants that the graph computes take more than {MOST_BYTES >> 20} MB")
            self.constants[name] = np.asarray(array)


def _text(value: Any) -> Any:
    """An attribute with texts in the places of their bytes."""
    if isinstance(value, list):
        return [_text(part) for part in value]
    return value.decode() if isinstance(value, bytes) else value


def _name(name: str) -> str | None:
    """A name that a layer may have."""
    cleaned = "".join(c if c.isalnum() or c in "_-." else "_" for c in name).strip(".")
    return cleaned or None
