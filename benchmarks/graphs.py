"""Networks with branches and depthwise convolutions against PyTorch, and at inference against ONNX Runtime too.

python benchmarks/graphs.py [--networks resnet20 "depthwise 28x32" ...] [--rounds 5] [--skip train|infer]

Forward, backward and Adam; inference at batch 1 and 32. All run in this process, in turn, on two threads and the same weights;
before anything is timed, outputs and losses are compared. PyTorch runs in both layouts, and the better one counts. ONNX Runtime
(pip install onnxruntime onnx) takes what PyTorch exports. Below 1 we are ahead.
"""

from __future__ import annotations

import argparse
import functools
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from turns import medians

from minitl.layers import (
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
    ReLU,
)
from minitl.models import Model

THREADS = 2


def resnet20(size: int) -> Model:
    """ResNet-20 for small images, with 1x1 convolutions in its shortcuts."""
    inputs = x = Input((size, size, 3))
    x = ReLU()(BatchNormalization()(Conv2D(16, 3, padding="same", use_bias=False)(x)))
    for stage in range(3):
        for number in range(3):
            filters, strides = 16 << stage, 2 if stage and not number else 1
            y = ReLU()(BatchNormalization()(Conv2D(filters, 3, strides, "same", use_bias=False)(x)))
            y = BatchNormalization()(Conv2D(filters, 3, padding="same", use_bias=False)(y))
            if strides > 1:
                x = BatchNormalization()(Conv2D(filters, 1, strides, use_bias=False)(x))
            x = ReLU()(Add()([y, x]))
    return Model(inputs, Dense(10)(GlobalAveragePooling2D()(x)))


def depthwise(size: int, channels: int) -> Model:
    """Two of MobileNet's blocks: depthwise 3x3, then 1x1, each with batch normalisation and ReLU."""
    inputs = x = Input((size, size, channels))
    for _ in range(2):
        x = ReLU()(BatchNormalization()(DepthwiseConv2D(3, padding="same", use_bias=False)(x)))
        x = ReLU()(BatchNormalization()(Conv2D(channels, 1, use_bias=False)(x)))
    return Model(inputs, Dense(10)(GlobalAveragePooling2D()(x)))


def classic(size: int) -> Model:
    """The classic network."""
    inputs = x = Input((size, size, 3))
    for filters in (32, 64, 128):
        x = MaxPooling2D()(Conv2D(filters, 3, activation="relu")(x))
    return Model(inputs, Dense(10)(Dense(128, activation="relu")(Flatten()(x))))


# How it is made for images of a size, their size, and the batch of a training step.
NETWORKS: dict[str, tuple[Callable[[int], Model], int, int]] = {
    "classic": (classic, 32, 128),
    "resnet20": (resnet20, 32, 128),
    **{f"depthwise {s}x{c}": (functools.partial(depthwise, channels=c), s, 32) for s in (28, 14) for c in (32, 64, 128)},
}


def twin(model: Model) -> Any:
    """The same network in PyTorch, with the same weights."""
    import torch
    from torch import nn

    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleDict()
            for node in model.graph.nodes:
                made = _module(node.layer)
                if made is not None:
                    self.parts[node.layer.name] = made

        def forward(self, x: Any) -> Any:
            values = {model.graph.inputs[0]: x}
            for node in model.graph.nodes:
                taken = [values[value] for value in node.inputs]
                part = node.layer.name
                values[node.outputs[0]] = self.parts[part](*taken) if part in self.parts else taken[0] + taken[1]
            return values[model.graph.outputs[0]]

    def _module(layer: Any) -> Any:
        kind, w = type(layer).__name__, {k: torch.tensor(v) for k, v in {**layer.parameters, **layer.state}.items()}
        if kind in ("Conv2D", "DepthwiseConv2D"):
            apart = kind == "DepthwiseConv2D"
            kernel = w["depthwise_kernel"].permute(2, 3, 0, 1) if apart else w["kernel"].permute(3, 2, 0, 1)
            around = layer.kernel_size[0] // 2 if layer.padding == "same" else 0
            made: Any = nn.Conv2d(
                layer.input_shape[-1], kernel.shape[0], layer.kernel_size, layer.strides, around,
                groups=kernel.shape[0] if apart else 1, bias="bias" in w,
            )  # fmt: skip
            made.weight.data.copy_(kernel)
            if "bias" in w:
                made.bias.data.copy_(w["bias"])
            return nn.Sequential(made, nn.ReLU(inplace=True)) if layer.activation == "relu" else made
        if kind == "BatchNormalization":
            made = nn.BatchNorm2d(layer.input_shape[-1], layer.epsilon, 1 - layer.momentum)
            made.weight.data.copy_(w["gamma"])
            made.bias.data.copy_(w["beta"])
            return made
        if kind == "Dense":
            made = nn.Linear(*w["kernel"].shape)
            kernel = w["kernel"]
            if "flatten" in layer.input.name:  # rows in (height, width, channel) order become (channel, height, width)
                kernel = kernel.reshape(*layer.input.node.inputs[0].shape[1:], -1).permute(2, 0, 1, 3).flatten(0, 2)
            made.weight.data.copy_(kernel.t())
            made.bias.data.copy_(w["bias"])
            return nn.Sequential(made, nn.ReLU()) if layer.activation == "relu" else made
        return {
            "ReLU": lambda: nn.ReLU(inplace=True), "MaxPooling2D": lambda: nn.MaxPool2d(2), "Flatten": nn.Flatten,
            "GlobalAveragePooling2D": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "Add": lambda: None,
        }[kind]()  # fmt: skip

    return Twin()


def engines(model: Model, x: np.ndarray, y: np.ndarray | None) -> dict[str, Callable[[], Any]]:
    """What is timed: a training step where there are labels, inference otherwise."""
    import torch

    if y is not None:
        from minitl.losses import SparseCategoricalCrossentropy

        model.compile("adam", SparseCategoricalCrossentropy(from_logits=True))
    found: dict[str, Callable[[], Any]] = {
        "minitl": lambda: model.predict_on_batch(x) if y is None else model.train_on_batch(x, y)
    }
    for name, layout in (("NCHW", torch.contiguous_format), ("channels_last", torch.channels_last)):
        net = twin(model).to(memory_format=layout)
        images = torch.tensor(x).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        found[name] = _inference(net.eval(), images) if y is None else _step(net, images, torch.tensor(y))
    if y is None:
        runtime = _onnx_runtime(model, x)
        if runtime is not None:
            found["ONNX Runtime"] = runtime
    return found


def _inference(net: Any, images: Any) -> Callable[[], Any]:
    import torch

    def infer() -> np.ndarray:
        with torch.inference_mode():
            return net(images).numpy()

    return infer


def _step(net: Any, images: Any, labels: Any) -> Callable[[], Any]:
    import torch

    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def _onnx_runtime(model: Model, x: np.ndarray) -> Callable[[], Any] | None:
    try:
        import onnx  # noqa: F401 (what PyTorch exports with)
        import onnxruntime
    except ImportError:
        return None
    import torch

    file, images = io.BytesIO(), np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    torch.onnx.export(twin(model).eval(), (torch.tensor(images),), file, dynamo=False, input_names=["x"])  # type: ignore[arg-type]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": images})[0]


def check(name: str) -> None:
    """Raise AssertionError unless all engines compute the same; on images of odd size, whose borders they pad alike."""
    make, size, _ = NETWORKS[name]
    model = make(size + 1)
    x, y = _data(size + 1, model, 4)
    outputs, losses = ({engine: call() for engine, call in engines(model, x, labels).items()} for labels in (None, y))
    for found in (outputs, losses):
        for engine, value in found.items():
            np.testing.assert_allclose(value, found["minitl"], rtol=1e-3, atol=1e-4, err_msg=f"{engine} computes something else")


def _data(size: int, model: Model, batch: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).standard_normal((batch, size, size, model.inputs[0].shape[-1])).astype(np.float32)
    return x, np.arange(batch) % 10


def compare(name: str, batch: int, train: bool, rounds: int) -> None:
    """Measure one network, and print its line."""
    make, size, _ = NETWORKS[name]
    model = make(size)
    x, y = _data(size, model, batch)
    found = engines(model, x, y if train else None)
    taken = {engine: 1e3 * seconds for engine, seconds in medians(found, rounds, 0.15).items()}
    torch_best = min(taken["NCHW"], taken["channels_last"])
    line = f"{name:16} {'train' if train else 'infer'} {batch:4}   " + "  ".join(f"{e} {t:8.3f} ms" for e, t in taken.items())
    line += f"   ours / PyTorch {taken['minitl'] / torch_best:.2f}"
    if "ONNX Runtime" in taken:
        line += f"   ours / ONNX Runtime {taken['minitl'] / taken['ONNX Runtime']:.2f}"
    print(line, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip", choices=("train", "infer"))
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(THREADS)
    for name in arguments.networks:
        check(name)
        if arguments.skip != "train":
            compare(name, NETWORKS[name][2], True, arguments.rounds)
        if arguments.skip != "infer":
            for batch in (1, 32):
                compare(name, batch, False, arguments.rounds)
