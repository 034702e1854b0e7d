"""How a model was compiled, as Keras's files say it: optimizer, losses and metrics by their classes' names and settings.

The optimizer's memory is not part of it: a model that comes back goes on with a fresh one. Nothing in a file is run, and no
class is made but minitl's own; functions come from custom_objects.
"""

from __future__ import annotations

import warnings
from typing import Any

from minitl import losses, metrics, optimizers, schedules
from minitl.errors import unknown

OPTIMIZERS = {cls.__name__: cls for cls in optimizers.NAMED.values()}
LOSSES = {cls.__name__: cls for cls in losses.NAMED.values() if cls.__name__ != "ChainCrossentropy"}
RATES = {
    cls.__name__: cls
    for cls in (
        schedules.CosineDecay, schedules.CosineDecayRestarts, schedules.ExponentialDecay, schedules.InverseTimeDecay,
        schedules.PiecewiseConstantDecay, schedules.PolynomialDecay,
    )
}  # fmt: skip
OURS_ALONE = ("multipliers", "decay")  # settings of optimizers that Keras does not have
NAMES = {"logcosh": "log_cosh"}  # Keras's, where it is not our first
METRICS = {  # the losses that Keras has as metrics, too
    "BinaryCrossentropy", "CategoricalCrossentropy", "CategoricalHinge", "Hinge", "KLDivergence", "MeanAbsoluteError",
    "MeanAbsolutePercentageError", "MeanSquaredError", "MeanSquaredLogarithmicError", "Poisson", "SparseCategoricalCrossentropy",
    "SquaredHinge",
}  # fmt: skip
WRAPPERS = ("MeanMetricWrapper", "LossFunctionWrapper")  # of a function, which their settings name


def compile_settings(model: Any) -> dict[str, Any] | None:
    """What `.keras` has as `compile_config`; None for a model that is not compiled, or whose loss is not Keras's."""
    if model.optimizer is None or model.loss_is_the_program_s:
        return None
    several = isinstance(model.loss, list)
    of_outputs = model.loss if several else [model.loss]
    if any(loss is not None and type(loss).__name__ not in LOSSES for loss in of_outputs):
        return None
    described: Any = [None if loss is None else _loss(loss) for loss in of_outputs]
    measured: Any = [[_metric(metric) for metric in group] for group in (model.metrics if several else [model.metrics])]
    measured = [[metric for metric in group if metric is not None] for group in measured]
    weights = model.loss_weights
    if several and model.keys.outputs is not None:  # Keras has them in another order
        described, measured = (dict(zip(model.keys.outputs, each, strict=True)) for each in (described, measured))
        weights = dict(zip(model.keys.outputs, weights, strict=True)) if isinstance(weights, list) else weights
    return {
        "optimizer": _optimizer(model.optimizer),
        "loss": described if several else described[0],
        "loss_weights": weights,
        "metrics": measured if several else measured[0],
        "weighted_metrics": None,
        "run_eagerly": False,
        "steps_per_execution": 1,
        "jit_compile": False,
    }


def compile_as_described(model: Any, settings: Any, where: str, custom_objects: dict[str, Any] | None) -> None:
    """Compile a model as its file says; with a warning, leave it as it is where that is not possible here."""
    optimizer = settings.get("optimizer", settings.get("optimizer_config")) if isinstance(settings, dict) else None
    if optimizer is None:
        return
    own = custom_objects or {}
    try:
        measured = [_each(settings.get(key), lambda item: _made_metric(item, own)) for key in ("metrics", "weighted_metrics")]
        model.compile(
            _made_optimizer(optimizer, own),
            _each(settings.get("loss"), lambda item: _made("loss", item, LOSSES, own)),
            _flat(measured[0], model),
            settings.get("loss_weights"),
            _flat(measured[1], model),
        )
    except Exception as error:  # whatever a damaged or foreign description makes constructors raise
        model._set_up_training()
        warnings.warn(f"{where}: the model is not compiled ({type(error).__name__}: {error}); call compile()", stacklevel=4)


def _optimizer(optimizer: Any) -> dict[str, Any]:
    config = {name: value for name, value in optimizer.get_config().items() if name not in OURS_ALONE}
    rate = optimizer.learning_rate
    if type(rate).__name__ in RATES:
        config["learning_rate"] = _keras("keras.optimizers.schedules", rate)
    else:
        config["learning_rate"] = float(rate(optimizer.iterations)) if callable(rate) else float(rate)
    return _keras("keras.optimizers", optimizer, config)


def _loss(loss: Any) -> Any:
    name = _name(loss)
    return name if loss.get_config() == type(loss)().get_config() else _keras("keras.losses", loss)


def _name(loss: Any) -> str:
    first = next(name for name, cls in losses.NAMED.items() if cls is type(loss))
    return NAMES.get(first, first)


def _metric(metric: Any) -> Any:
    """Keras's description of a metric; a function of your own has none, which is said."""
    kind = type(metric).__name__
    if kind == "MeanLoss":
        name = _name(metric.measured)
        if type(metric.measured).__name__ in METRICS:
            if not metric.settings and metric.name == metric.loss and metric.name in (name, "mse", "mae", "mape", "msle"):
                return metric.name
            return _keras("keras.metrics", metric.measured, {"name": metric.name, **metric.settings})
        function = {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
        config = {"name": metric.name, "fn": function, **metric.settings}
        return {"module": "keras.metrics", "class_name": "MeanMetricWrapper", "config": config, "registered_name": None}
    if kind == "Accuracy":
        return metric.name if metric.name in ("accuracy", "acc") else "accuracy"
    if kind in ("OwnFunction", "MeanMetricWrapper", "Mean", "Sum") or kind not in metrics.CLASSES:
        warnings.warn(f"save: the metric {metric.name!r} is left out, Keras's files do not have it", stacklevel=6)
        return None
    return _keras("keras.metrics", metric)


def _keras(module: str, made: Any, config: dict[str, Any] | None = None) -> dict[str, Any]:
    config = made.get_config() if config is None else config
    return {"module": module, "class_name": type(made).__name__, "config": config, "registered_name": None}


def _made_optimizer(described: Any, own: dict[str, Any]) -> Any:
    if isinstance(described, dict):
        rate = described["config"].get("learning_rate")
        if isinstance(rate, dict):
            described = {**described, "config": {**described["config"], "learning_rate": _made("schedule", rate, RATES, own)}}
    return _made("optimizer", described, OPTIMIZERS, own)


def _made_metric(described: Any, own: dict[str, Any]) -> Any:
    if isinstance(described, dict) and described.get("class_name") in LOSSES.keys() - metrics.CLASSES.keys():
        known = {key: value for key, value in described["config"].items() if value is not None and key not in ("dtype", "fn")}
        return getattr(metrics, described["class_name"])(**known)
    if isinstance(described, dict) and described.get("class_name") == "MeanMetricWrapper":
        config = dict(described["config"])
        function, name, _ = config.pop("fn", None), config.pop("name", None), config.pop("dtype", None)
        function = function["config"] if isinstance(function, dict) else function
        if function in losses.NAMED.keys() - own.keys():
            return metrics.MeanLoss(function, name, **config)
    return _made("metric", described, metrics.CLASSES, own)


def _made(what: str, described: Any, classes: dict[str, Any], own: dict[str, Any]) -> Any:
    """An object from Keras's description: a name, or a class with settings, of which those that are None say nothing."""
    if not isinstance(described, dict):
        return own.get(described, described) if isinstance(described, str) else described
    kind, config = described["class_name"], described["config"]
    if kind in WRAPPERS or kind == "function":
        name = config if isinstance(config, str) else config.get("fn") or config["name"]
        return _made(what, name if isinstance(name, str) else name["config"], classes, own)
    if kind not in classes:
        raise unknown(what, kind, classes)
    left_out = {"dtype", "fn", "is_legacy_optimizer", *(() if what == "metric" else ("name",))}
    given = {name: value for name, value in config.items() if value is not None and name not in left_out}
    return classes[kind](**{name: _plain(value) for name, value in given.items()})


def _plain(value: Any) -> Any:
    """Numbers that Keras describes as an array."""
    array = isinstance(value, dict) and value.get("class_name") in ("__tensor__", "__numpy__")
    return value["config"]["value"] if array else value


def _each(described: Any, make: Any) -> Any:
    """The objects of a description per output: in lists, or by the outputs' names."""
    if isinstance(described, list):
        return [_each(item, make) for item in described]
    if isinstance(described, dict) and "class_name" not in described:
        return {name: _each(item, make) for name, item in described.items()}
    return None if described is None else make(described)


def _flat(measured: Any, model: Any) -> Any:
    """tf.keras lists the metrics of a single output twice: [[...]]."""
    if isinstance(measured, list) and len(measured) == 1 and isinstance(measured[0], list) and len(model.outputs) == 1:
        return measured[0]
    return measured
