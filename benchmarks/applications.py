"""Published networks against PyTorch and ONNX Runtime: inference at batch 1 and 16, and training steps.

    python benchmarks/applications.py [--networks MobileNetV2 ...] [--rounds 5] [--skip train|infer]

Two threads, one process, the same random weights, rounds in turn, medians. PyTorch runs a twin of our graph, in both
layouts, and the better one counts; ONNX Runtime runs what `export_onnx` writes. Outputs are compared before anything is timed.
Training is forward, backward and SGD, with everything trained and with all but the head frozen. Below 1 we are ahead.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from turns import medians

from minitl import applications, layers
from minitl.interop import export_onnx
from minitl.interop.pytorch import torch_arrays

THREADS = 2
# Name, settings, and size of images; batch of training steps.
INFERENCE = {"ResNet20": 32, "MobileNetV2": 224, "ResNet50": 224, "VGG16": 224, "SqueezeNet": 224}
TRAINING = (("MobileNetV2", 96, 32), ("MobileNetV2", 160, 16), ("ResNet20", 32, 128))


def network(name: str, size: int, top: bool = True) -> Any:
    """A network with random weights; its normalisations have statistics as after training."""
    settings: dict[str, Any] = {"weights": None, "classifier_activation": None}
    model = getattr(applications, name)(**settings, **({} if name == "ResNet20" else {"input_shape": (size, size, 3)}))
    drawn = np.random.default_rng(0)
    for _, layer in model.named_layers():
        if "moving_mean" in layer.state:
            layer.state["moving_mean"][...] = drawn.normal(0, 0.1, layer.state["moving_mean"].shape)
            layer.state["moving_variance"][...] = drawn.uniform(0.5, 1.5, layer.state["moving_mean"].shape)
    return model


def twin(model: Any) -> Any:
    """The same network in PyTorch, node by node."""
    import torch
    from torch import nn

    arrays = {key: torch.tensor(array) for key, array in torch_arrays(model, lambda path: path).items()}

    def module(path: str, layer: Any) -> Any:
        kinds = layers
        if isinstance(layer, kinds.DepthwiseConv2D):
            c = layer.input_shape[-1]
            made = nn.Conv2d(
                c, c * layer.depth_multiplier, layer.kernel_size, layer.strides, _pad(layer), groups=c, bias=layer.use_bias
            )
        elif isinstance(layer, kinds.Conv2D):
            made = nn.Conv2d(
                layer.input_shape[-1], layer.filters, layer.kernel_size, layer.strides, _pad(layer), bias=layer.use_bias
            )
        elif isinstance(layer, kinds.BatchNormalization):
            made = nn.BatchNorm2d(layer.input_shape[-1], layer.epsilon, 1 - layer.momentum)
        elif isinstance(layer, kinds.Dense):
            made = nn.Linear(layer.input_shape[-1], layer.units)
        else:
            return None
        made.load_state_dict({k.rsplit(".", 1)[1]: v for k, v in arrays.items() if k.rsplit(".", 1)[0] == path})
        return made

    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleDict()
            for path, layer in model.named_layers():
                made = module(path, layer)
                if made is not None:
                    self.parts[path] = made

        def forward(self, x: Any) -> Any:
            values = {model.graph.inputs[0]: x}
            for node in model.graph.nodes:
                taken = [values[v] for v in node.inputs]
                values[node.outputs[0]] = self.node(node.layer, taken)
            return values[model.graph.outputs[0]]

        def node(self, layer: Any, x: list[Any]) -> Any:
            name, kind = model._names[layer], type(layer).__name__
            if name in self.parts:
                y = _same(layer, x[0])
                y = self.parts[name](y)
                return y.relu() if getattr(layer, "activation", None) == "relu" else y
            return {
                "ReLU": lambda: nn.functional.relu6(x[0]) if layer.max_value == 6 else x[0].relu(),
                "Activation": lambda: x[0].relu() if layer.activation == "relu" else x[0],
                "ZeroPadding2D": lambda: nn.functional.pad(x[0], [*layer.border[1], *layer.border[0]]),
                "ChannelPadding": lambda: nn.functional.pad(x[0], [0, 0, 0, 0, *layer.padding]),
                "MaxPooling2D": lambda: nn.functional.max_pool2d(x[0], layer.pool_size, layer.strides),
                "AveragePooling2D": lambda: nn.functional.avg_pool2d(x[0], layer.pool_size, layer.strides),
                "GlobalAveragePooling2D": lambda: x[0].mean((2, 3)), "Add": lambda: x[0] + x[1],
                "Concatenate": lambda: torch.cat(x, 1), "Flatten": lambda: x[0].flatten(1), "Dropout": lambda: x[0],
            }[kind]()  # fmt: skip

    return Twin()


def _pad(layer: Any) -> tuple[int, int]:
    """Padding that PyTorch can give a convolution itself: the even one of stride 1."""
    even = layer.padding == "same" and max(layer.strides) == 1
    return (layer.kernel_size[0] // 2, layer.kernel_size[1] // 2) if even else (0, 0)


def _same(layer: Any, x: Any) -> Any:
    """The odd border that `same` has with stride 2."""
    from torch import nn

    if getattr(layer, "padding", None) != "same" or max(layer.strides) == 1:
        return x
    total = [max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(x.shape[2:], layer.strides, layer.kernel_size, strict=True)]
    return nn.functional.pad(x, [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2])


def inference(name: str, size: int, rounds: int) -> list[tuple[float, float]]:
    """Ratios to the better of all, and to PyTorch, at batch 1 and 16."""
    import onnxruntime
    import torch

    model = network(name, size)
    theirs = twin(model).eval()
    channels_last = twin(model).eval().to(memory_format=torch.channels_last)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, Path(folder) / "m.onnx")
        session = onnxruntime.InferenceSession(Path(folder) / "m.onnx", options)
    entry, ratios = session.get_inputs()[0].name, []
    for batch in (1, 16):
        x = np.random.default_rng(1).standard_normal((batch, size, size, 3)).astype(np.float32)
        first = torch.tensor(x).permute(0, 3, 1, 2)
        first, last = first.contiguous(), first.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            y = model.predict_on_batch(x)
            for other in (theirs(first).numpy(), session.run(None, {entry: x})[0]):
                assert np.abs(other - y).max() < 1e-3 * max(1.0, np.abs(y).max()), f"{name}: outputs differ"
            found = medians(
                {
                    "ours": lambda x=x: model.predict_on_batch(x), "torch": lambda v=first: theirs(v),
                    "torch, channels last": lambda v=last: channels_last(v), "onnx": lambda x=x: session.run(None, {entry: x}),
                },
                rounds,
            )  # fmt: skip
        torch_best = min(found["torch"], found["torch, channels last"])
        ratios.append((found["ours"] / min(torch_best, found["onnx"]), found["ours"] / torch_best))
        shown = "".join(f"{1000 * found[key]:>10.2f}" for key in ("ours", "torch", "torch, channels last", "onnx"))
        print(f"{name:<14}{size:>5}{batch:>6}{shown}{ratios[-1][0]:>10.2f}{ratios[-1][1]:>10.2f}", flush=True)
    return ratios


def training(name: str, size: int, batch: int, rounds: int) -> list[float]:
    """Ratios to PyTorch's better layout: everything trained, and all but the head frozen."""
    import torch

    model = network(name, size)
    x = np.random.default_rng(1).standard_normal((batch, size, size, 3)).astype(np.float32)
    y = np.random.default_rng(2).standard_normal((batch, model.output_shape[-1])).astype(np.float32)
    first, target, ratios = torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(y), []
    for frozen in (False, True):
        model.trainable = True
        if frozen:
            for layer in model.layers[:-1]:
                layer.trainable = False
        model.compile("sgd", "mse")
        calls: dict[str, Callable[[], Any]] = {"ours": lambda: model.train_on_batch(x, y)}
        for layout in (torch.contiguous_format, torch.channels_last):
            other = twin(network(name, size)).train().to(memory_format=layout)
            if frozen:
                other.eval()
                head = other.parts[list(other.parts)[-1]]
                for parameter in other.parameters():
                    parameter.requires_grad_(False)
                for parameter in head.parameters():
                    parameter.requires_grad_(True)
            rule = torch.optim.SGD([p for p in other.parameters() if p.requires_grad], 0.01)
            data = first.contiguous(memory_format=layout)

            def step(other: Any = other, rule: Any = rule, data: Any = data) -> None:
                rule.zero_grad()
                torch.nn.functional.mse_loss(other(data), target).backward()
                rule.step()

            calls[str(layout)] = step
        found = medians(calls, rounds)
        best = min(value for key, value in found.items() if key != "ours")
        ratios.append(found["ours"] / best)
        what = "head alone" if frozen else "everything"
        print(
            f"{name:<14}{size:>5}{batch:>6}  {what:<12}{1000 * found['ours']:>10.1f}{1000 * best:>10.1f}{ratios[-1]:>10.2f}",
            flush=True,
        )
    return ratios


def mean(values: list[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.mean(map(math.log, values)))


if __name__ == "__main__":
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=INFERENCE, default=list(INFERENCE), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip", choices=["train", "infer"])
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    if arguments.skip != "infer":
        columns = ("ours", "torch", "ch. last", "onnx", "/ best", "/ torch")
        print(f"{'inference, ms':<14}{'size':>5}{'batch':>6}" + "".join(f"{column:>10}" for column in columns))
        rows = [ratio for name in arguments.networks for ratio in inference(name, INFERENCE[name], arguments.rounds)]
        print(f"geometric mean: {mean([r[0] for r in rows]):.2f} of the best, {mean([r[1] for r in rows]):.2f} of PyTorch\n")
    if arguments.skip != "train":
        print(f"{'training, ms':<14}{'size':>5}{'batch':>6}  {'trained':<12}{'ours':>10}{'torch':>10}{'ratio':>10}")
        rows = [ratio for name, size, batch in TRAINING for ratio in training(name, size, batch, arguments.rounds)]
        print(f"geometric mean: {mean(rows):.2f}")
