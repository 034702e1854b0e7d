"""Sequential: layers one after another, and what one does with them: train, measure, predict, save, freeze."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minitl import layers as layer_module
from minitl import losses, metrics, optimizers, training
from minitl import weights as weight_files
from minitl.errors import unknown
from minitl.history import History
from minitl.layers.base import Layer
from minitl.layers.stack import Stack
from minitl.preprocessing.record import Preprocessing
from minitl.serialization import decode, encode


class Sequential(Stack):
    """Layers one after another, to be trained, measured, saved and loaded. It is a layer itself and can stand in another.

    How layers are added, and how gradients run back through them, is in `minitl.layers.stack`.
    """

    def __init__(self, layers: list[Layer] | None = None, name: str | None = None):
        super().__init__(layers, name)
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: losses.Loss | None = None
        self.metrics: list[metrics.Metric] = []
        self.stop_training = False
        self.history: History | None = None
        self.preprocessing: Preprocessing | None = None  # what its inputs went through; kept with the weights

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Print a table: layers, output shapes, parameters, what is frozen, and the totals."""
        self._need_layers()
        rows = [("layer (type)", "output shape", "parameters", "")]
        for path, layer in self.walk():
            frozen = "frozen" if not layer.trainable and layer.weights else ""
            rows.append((f"{path} ({type(layer).__name__})", str(layer.output_shape), f"{layer.count_params():,}", frozen))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]
        lines.insert(1, "-" * max(map(len, lines)))
        total, trained = self.count_params(), sum(w.size for w in self.trainable_weights)
        lines += [lines[1], f"total {total:,}: trainable {trained:,}, not trainable {total - trained:,}"]
        print_fn("\n".join(lines))

    # Training. The loops are in minitl.training.

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Any = None) -> None:
        """Choose optimizer, loss and metrics, by name or as objects."""
        self.optimizer = optimizers.get(optimizer)
        self.loss = None if loss is None else losses.get(loss)
        names = [metrics] if isinstance(metrics, str) else list(metrics or [])
        self.metrics = [_get_metric(name) for name in names]

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> History:
        """Train; see `minitl.training.fit`."""
        return training.fit(
            self, x, y, batch_size, epochs, verbose, callbacks, validation_split, validation_data, shuffle, class_weight,
            sample_weight, initial_epoch, steps_per_epoch, validation_steps, validation_batch_size, validation_freq,
        )  # fmt: skip

    def fit_generator(self, generator: Any, steps_per_epoch: int | None = None, **kwargs: Any) -> History:
        """`fit` under the name that older programs use; their settings for worker processes have no meaning here."""
        return self.fit(generator, steps_per_epoch=steps_per_epoch, **_without_workers(kwargs))

    def evaluate_generator(self, generator: Any, steps: int | None = None, **kwargs: Any) -> Any:
        """`evaluate` under the name that older programs use."""
        return self.evaluate(generator, steps=steps, **_without_workers(kwargs))

    def predict_generator(self, generator: Any, steps: int | None = None, **kwargs: Any) -> np.ndarray:
        """`predict` under the name that older programs use."""
        return self.predict(generator, steps=steps, **_without_workers(kwargs))

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss and the metrics on some data: [loss, metric...], or a dictionary."""
        return training.evaluate(self, x, y, batch_size, verbose, sample_weight, steps, return_dict)

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto", steps: int | None = None) -> np.ndarray:
        """The outputs for some data, in their order."""
        return training.predict(self, x, batch_size, verbose, steps)

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """One update; the loss before it, and the metrics."""
        return training.on_batch(self, x, y, sample_weight, class_weight, return_dict, train=True)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """The loss and the metrics of one batch."""
        return training.on_batch(self, x, y, sample_weight, None, return_dict, train=False)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """The outputs for one batch."""
        return training.predict_batch(self, np.asarray(x))

    # Files.

    def save_weights(self, filepath: str | os.PathLike) -> None:
        """Write all weights to a file, atomically, by layer and parameter name."""
        self._need_built("save")
        weight_files.write(filepath, weight_files.named_weights(self))

    def load_weights(
        self, filepath: str | os.PathLike, strict: bool = True, by_name: bool = False, skip_mismatch: bool = False
    ) -> weight_files.Report:
        """Load weights by name, and return a report of what was loaded.

        Strict, the default: every weight of the model must be in the file, in its shape, and nothing else. With
        strict=False what fits is loaded, and the report printed. Keras's by_name=True allows missing and unexpected
        entries, its skip_mismatch=True also other shapes.
        Errors: ValueError listing all that does not fit, or when nothing fits; the model is unchanged then.
        """
        self._need_built("load weights")
        arrays, _ = weight_files.read(filepath)
        arrays = {key: array for key, array in arrays.items() if not key.startswith(weight_files.OPTIMIZER)}
        report = weight_files.load_into(self, arrays, str(filepath), not strict or by_name, not strict or skip_mismatch)
        if report.missing or report.unexpected or report.shape_differs:
            print(report)
        return report

    def save(self, filepath: str | os.PathLike) -> None:
        """Write architecture, weights and, when compiled, optimizer, loss and metrics with their state to one file."""
        self._need_built("save")
        arrays = weight_files.named_weights(self)
        config: dict[str, Any] = {"format": 1, "model": encode(self), "preprocessing": encode(self.preprocessing)}
        if self.optimizer is not None:
            config["compile"] = {
                "optimizer": encode(self.optimizer),
                "iterations": self.optimizer.iterations,
                "loss": encode(self.loss),
                "metrics": encode(self.metrics),
            }
            for path, memory in self.optimizer.memory.items():
                arrays.update({f"{weight_files.OPTIMIZER}{path}/{name}": slot for name, slot in memory.items()})
        weight_files.write(filepath, arrays, config)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the model: its layers and its input shape."""
        return {
            "name": self.name,
            "input_shape": self.input_shape or self.declared_shape,
            "layers": [{**encode(layer), "name": layer.name, "trainable": layer.trainable} for layer in self._layers],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, type] | None = None) -> Sequential:
        """The model that `get_config` described, with new weights."""
        classes = {**_layer_classes(), **(custom_objects or {})}
        model = cls(name=config.get("name"))
        if config.get("input_shape") is not None:
            model.declared_shape = tuple(config["input_shape"])
        for data in config["layers"]:
            model.add(_layer_from(data, classes, custom_objects))
        return model

    # Private.

    def _need_layers(self) -> None:
        if not self._layers:
            raise ValueError("the model has no layers; add() some")

    def _need_built(self, what: str) -> None:
        self._need_layers()
        if not self.built:
            raise ValueError(f"cannot {what}: the model has no weights before its input shape is known; call build((None, ...))")


def load_model(filepath: str | os.PathLike, custom_objects: dict[str, type] | None = None) -> Sequential:
    """Rebuild a model that `save` wrote: architecture, weights, and how it was compiled.

    Your own classes go into custom_objects, by name; nothing else than they and minitl's own is ever made.
    Errors: FileNotFoundError, or ValueError for a damaged or foreign file, or a class that is not known.
    """
    arrays, config = weight_files.read(filepath)
    if config is None:
        raise ValueError(f"{filepath} holds weights only; build the model and call load_weights")
    if config.get("format") != 1 or not isinstance(config.get("model"), dict):
        raise ValueError(f"{filepath}: unknown model format {config.get('format')!r}; was it written by a newer minitl?")
    try:
        model = Sequential.from_config(config["model"]["config"], custom_objects)
        model.preprocessing = decode("preprocessing", config.get("preprocessing"), {"Preprocessing": Preprocessing})
        _restore_compile(model, config.get("compile"), custom_objects or {})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{filepath}: the architecture in it cannot be rebuilt ({error!r})") from error
    own = {key: array for key, array in arrays.items() if not key.startswith(weight_files.OPTIMIZER)}
    if own or model.weights:
        weight_files.load_into(model, own, str(filepath), missing_ok=False, shapes_ok=False)
    if model.optimizer is not None:
        for key, array in arrays.items():
            if key.startswith(weight_files.OPTIMIZER):
                path, _, slot = key.removeprefix(weight_files.OPTIMIZER).rpartition("/")
                model.optimizer.memory.setdefault(path, {})[slot] = array
    return model


def clone_model(model: Sequential) -> Sequential:
    """The same architecture with new weights of its own; not compiled."""
    custom = {type(layer).__name__: type(layer) for layer in _all_layers(model)}
    return Sequential.from_config(encode(model)["config"], custom)


def _without_workers(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in ("workers", "use_multiprocessing", "max_queue_size")}


def _all_layers(model: Sequential) -> Iterator[Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, Sequential):
            yield from _all_layers(layer)


def _layer_classes() -> dict[str, type]:
    named = {name: getattr(layer_module, name) for name in layer_module.__all__}
    return {**{name: cls for name, cls in named.items() if isinstance(cls, type)}, "Sequential": Sequential}


def _layer_from(data: dict[str, Any], classes: dict[str, type], custom_objects: dict[str, type] | None) -> Layer:
    name = data["class_name"]
    if name not in classes:
        raise ValueError(f"{unknown('layer class', name, classes)}; your own go into custom_objects={{{name!r}: {name}}}")
    cls: Any = classes[name]
    if not issubclass(cls, Layer):
        raise TypeError(f"{name} is not a layer")
    layer = cls.from_config(data["config"], custom_objects) if cls is Sequential else cls.from_config(data["config"])
    if data.get("name") is not None:
        layer.name = data["name"]
    if not layer.is_container:
        layer.trainable = bool(data.get("trainable", True))
    return layer


def _restore_compile(model: Sequential, saved: dict[str, Any] | None, custom: dict[str, type]) -> None:
    if saved is None:
        return

    def restore(data: Any, get: Callable[[Any], Any]) -> Any:
        mine = isinstance(data, dict) and data.get("class_name") in custom
        return custom[data["class_name"]](**data["config"]) if mine else get(data)

    loss = None if saved["loss"] is None else restore(saved["loss"], losses.get)
    model.compile(restore(saved["optimizer"], optimizers.get), loss, [restore(m, metrics.get) for m in saved["metrics"]])
    assert model.optimizer is not None
    model.optimizer.iterations = int(saved["iterations"])


def _get_metric(identifier: Any) -> metrics.Metric:
    return metrics.get(identifier)
