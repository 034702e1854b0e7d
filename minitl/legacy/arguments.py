"""What older programs call arguments: one table, and a wrapper that translates when such a name is used."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Container, Iterable
from typing import Any

from minitl import channels
from minitl.legacy import warn_once

LAYERS = {
    "nb_filter": "filters", "border_mode": "padding", "subsample": "strides", "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer", "b_regularizer": "bias_regularizer", "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint", "bias": "use_bias", "output_dim": "units", "p": "rate", "sigma": "stddev",
    "filter_length": "kernel_size", "subsample_length": "strides", "atrous_rate": "dilation_rate", "pool_length": "pool_size",
    "inner_activation": "recurrent_activation", "inner_init": "recurrent_initializer", "U_regularizer": "recurrent_regularizer",
    "stride": "strides", "beta_init": "beta_initializer", "gamma_init": "gamma_initializer", "batch_input_shape": "input_shape",
}  # fmt: skip
RECURRENT = {"dropout_W": "dropout", "dropout_U": "recurrent_dropout"}
OF_CLASS = {
    "Embedding": {"output_dim": "output_dim", "init": "embeddings_initializer"},
    "LSTM": RECURRENT, "GRU": RECURRENT, "SimpleRNN": RECURRENT,
}  # fmt: skip
# What has no meaning here, and values that change nothing; anything else in them is refused in a sentence.
NOTHING: dict[str, tuple[Any, ...]] = {
    "dim_ordering": ("default", None), "data_format": (None,), "mode": (0,),
    "noise_shape": (None,), "synchronized": (False,), "renorm": (False,),
    "fused": (None, True, False),
    "amsgrad": (False,), "schedule_decay": (0.004,), "centered": (False,),
    "jit_compile": (True, False, "auto"),
    "consume_less": ("cpu", "mem", "gpu"), "forget_bias_init": ("one", "ones"),
    **dict.fromkeys((f"{weight}_constraint" for weight in ("alpha", "beta", "bias", "depthwise", "embeddings", "gamma", "kernel",
                                                         "pointwise", "recurrent")), (None,)),
    "dilation_rate": (1, (1,), (1, 1), [1], [1, 1]), "attention_axes": (None,), "flash_attention": (None, False),
    "sliding_window": (None,), "use_gate": (False,), "backward_layer": (None,), "mask": (None,),
    "use_cudnn": ("auto", True, False), "lora_alpha": (None,), "quantization_config": (None,),
    "autocast": (True,), "moving_mean_initializer": ("zeros",), "moving_variance_initializer": ("ones",),
    "zero_output_for_mask": (True, False),  # of an Embedding, in files of before
    "sparse": (None, False), "ragged": (None, False), "lora_rank": (None,),
}  # fmt: skip
KERAS_1 = {"border_mode", "subsample", "init", "W_regularizer", "b_regularizer", "dim_ordering"}
FORMATS = ("tf", "th", "channels_last", "channels_first")
OF_KERNEL = {"kernel_regularizer", "kernel_initializer", "kernel_constraint"}
OLD = {*LAYERS, *NOTHING, *OF_KERNEL}
OLD |= {"nb_row", "nb_col", "seed", "batch_size", "epsilon", "dropout", "weights", "name", "loss_scale_factor"}
FIT = {"nb_epoch": "epochs", "samples_per_epoch": "steps_per_epoch", "nb_val_samples": "validation_steps", "val_samples": "steps"}
WORKERS = ("workers", "use_multiprocessing", "max_queue_size", "nb_worker", "max_q_size", "pickle_safe", "show_accuracy")


def accept(classes: Iterable[type]) -> None:
    """Let the constructors of classes take their arguments under old names."""
    for cls in classes:
        if cls.__init__ is not object.__init__:  # type: ignore[misc]
            cls.__init__ = _translating(cls.__init__, cls)  # type: ignore[misc]


def first_of_keras_1(shape: Any) -> None:
    """Channels stood first where nothing else was said: an image of 1 or 3 rows, and more columns than 4, is none."""
    if shape is not None and len(shape) == 3 and shape[0] in (1, 3) and (shape[2] or 0) > 4 and not channels.are_first():
        warn_once(f"input_shape={tuple(shape)}, channels first", f"{(*shape[1:], shape[0])}; the program's images are turned")
        channels.set_first(True)


def of_fit(settings: dict[str, Any], batch_size: int | None = None) -> dict[str, Any]:
    """The arguments of `fit` and its siblings by their modern names; those for worker processes are left out.

    Errors: TypeError for an unknown name.
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if name in WORKERS:
            continue
        if name not in FIT:
            raise TypeError(f"got an unexpected keyword argument {name!r}")
        warn_once(name, FIT[name])
        if name in ("samples_per_epoch", "nb_val_samples", "val_samples") and batch_size:
            value = math.ceil(value / batch_size)  # once samples, today batches
        found[FIT[name]] = value
    return found


def _translating(init: Callable[..., None], cls: type) -> Callable[..., None]:
    name = cls.__name__
    table = {**LAYERS, **OF_CLASS.get(name, {})}
    old = OLD if name not in OF_CLASS else OLD | set(table)

    @functools.wraps(init)
    def translated(self: Any, *args: Any, **kwargs: Any) -> None:
        first = None
        if not old.isdisjoint(kwargs):
            own = _own(cls) | {f"{weight}_constraint" for weight in getattr(self, "constrained", ())}
            if name == "Conv2D" and len(args) == 3 and not KERAS_1.isdisjoint(kwargs):  # Conv2D(64, 3, 3, border_mode="same")
                warn_once("Conv2D(32, 3, 3)", "Conv2D(32, (3, 3))")
                args = (args[0], args[1:])
                first_of_keras_1(kwargs.get("input_shape"))
            first = None if "weights" in own else kwargs.pop("weights", None)
            kwargs = _modern(name, own, table, kwargs)
        init(self, *args, **kwargs)
        if first is not None:
            self.first_weights = list(first)

    return translated


@functools.cache
def _own(cls: type) -> frozenset[str]:
    """The arguments of a class's constructor and its bases'."""
    inits = [vars(base)["__init__"] for base in cls.__mro__[:-1] if "__init__" in vars(base)]
    return frozenset(name for init in inits for name in inspect.signature(init).parameters)


def _modern(name: str, own: Container[str], table: dict[str, str], kwargs: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    rows, columns = kwargs.pop("nb_row", None), kwargs.pop("nb_col", None)
    if rows is not None:
        found["kernel_size"] = (rows, columns)
    for key, value in kwargs.items():
        if key == "epsilon" and value is None:
            continue  # the default, in Keras 2
        if key in own:
            found[key] = value
        elif name == "Embedding" and key == "dropout":
            warn_once("Embedding(dropout=)", "a SpatialDropout1D behind it; nothing is dropped now")
        elif name.startswith("SeparableConv") and key in OF_KERNEL:
            warn_once(f"{name}({key}=), which never did anything,", f"{key.replace('kernel', 'depthwise')} and pointwise_...")
        elif key == "seed":
            continue  # one seed for everything: set_random_seed
        elif key == "name":
            continue  # of what has none here: initializers and schedules
        elif key == "loss_scale_factor":
            continue  # against underflow in half precision, which is not there
        elif key == "batch_size":
            continue  # batches of any size go through every layer
        elif key in ("dim_ordering", "data_format") and value not in (None, "default"):
            if (value in ("th", "channels_first")) != channels.are_first() or value not in FORMATS:
                raise ValueError(_why(name, key, value))
        elif key in NOTHING:
            if value not in NOTHING[key]:
                raise ValueError(_why(name, key, value))
        elif key == "batch_input_shape":
            found["input_shape"] = tuple(value)[1:]
        elif key in table:
            warn_once(f"{key}=", f"{table[key]}=")
            found[table[key]] = value
        else:
            found[key] = value
    return found


def _why(name: str, key: str, value: Any) -> str:
    if key in ("dim_ordering", "data_format"):
        return (
            f"{name}: {key}={value!r}: where channels stand is said once for the whole program, by "
            "backend.set_image_data_format('channels_first' or 'channels_last')"
        )
    return f"{name}: {key}={value!r} is not known here"
