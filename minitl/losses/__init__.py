"""Losses: one number for how wrong a batch of predictions is, and its gradient.

base          what a loss is
crossentropy  categorical, sparse categorical, binary
chain         of whole sequences of labels
distances     squared, absolute, hinge, Huber, ...
reduction     from the losses of rows to one number
formulas      some written out, for values and for rows
rare          focal cross-entropies, overlaps of regions
own           a function of your own
of_values     a loss as a part of a network

Each is there as a class, and as a function of (y_true, y_pred) under its lower-case name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.autodiff import Traced
from minitl.functions import function_name, is_function, is_known
from minitl.graph.value import Value
from minitl.losses import formulas
from minitl.losses.base import Loss, backpropagate, compute
from minitl.losses.chain import ChainCrossentropy
from minitl.losses.crossentropy import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from minitl.losses.distances import (
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SquaredHinge,
)
from minitl.losses.formulas import OF_VALUES
from minitl.losses.own import OwnLoss
from minitl.losses.rare import BinaryFocalCrossentropy, CategoricalFocalCrossentropy, Dice, Tversky
from minitl.serialization import lookup

NAMED: dict[str, type[Loss]] = {
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "binary_crossentropy": BinaryCrossentropy,
    "bce": BinaryCrossentropy,
    "chain_crossentropy": ChainCrossentropy,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "mae": MeanAbsoluteError,
    "mean_absolute_percentage_error": MeanAbsolutePercentageError,
    "mape": MeanAbsolutePercentageError,
    "mean_squared_logarithmic_error": MeanSquaredLogarithmicError,
    "msle": MeanSquaredLogarithmicError,
    "hinge": Hinge,
    "squared_hinge": SquaredHinge,
    "categorical_hinge": CategoricalHinge,
    "huber": Huber,
    "huber_loss": Huber,
    "logcosh": LogCosh,
    "log_cosh": LogCosh,
    "poisson": Poisson,
    "kl_divergence": KLDivergence,
    "kld": KLDivergence,
    "kullback_leibler_divergence": KLDivergence,
    "cosine_similarity": CosineSimilarity,
    "cosine_proximity": CosineSimilarity,
    "binary_focal_crossentropy": BinaryFocalCrossentropy,
    "categorical_focal_crossentropy": CategoricalFocalCrossentropy,
    "dice": Dice,
    "tversky": Tversky,
}


def get(identifier: Any) -> Loss:
    """The loss of a name ("categorical_crossentropy"), of a function of that name or your own, or the object itself.

    Errors: ValueError for an unknown name; TypeError for what is no loss.
    """
    if is_known(identifier) and function_name(identifier) in NAMED:
        identifier = function_name(identifier)  # a function of this module, or of Keras's
    loss = lookup("loss", identifier, {**NAMED, "ownloss": OwnLoss})
    if is_function(loss) and not isinstance(loss, Loss):
        loss = OwnLoss(loss)
    if not isinstance(loss, Loss):
        raise TypeError(f"a loss must be a name, a function of (y_true, y_pred), or a minitl.losses.Loss, got {loss!r}")
    return loss


def to_train_with(identifier: Any) -> Loss:
    """The same, of one that gives a number.

    Errors: ValueError for one that gives many.
    """
    loss = get(identifier)
    if loss.reduction == "none":
        advice = 'leave the reduction out, or give "sum"'
        raise ValueError(f'loss {loss.name}: a network learns from one number, reduction="none" gives many; {advice}')
    return loss


def _function(name: str) -> Callable[..., Any]:
    def of_samples(y_true: Any, y_pred: Any, **settings: Any) -> Any:
        if isinstance(y_true, (Traced, Value)) or isinstance(y_pred, Value):
            if name in OF_VALUES and not settings:
                return OF_VALUES[name](y_true, y_pred)
            return NAMED[name](reduction="none", **settings)(y_true, y_pred)
        loss = NAMED[name](**settings)
        p = y_pred if isinstance(y_pred, Traced) else np.asarray(y_pred, np.float32)
        if p.ndim == 1:  # one sample
            return of_samples(np.asarray(y_true)[None], p[None], **settings)[0]
        return loss.values(np.asarray(y_true), p, loss.from_logits)

    of_samples.__name__ = of_samples.__qualname__ = name
    of_samples.__doc__ = f"The loss of every row, (...) of predictions (..., n): see {NAMED[name].__name__}."
    return of_samples


globals().update({name: _function(name) for name in NAMED})
for _name, _formula in OF_VALUES.items():
    NAMED[_name].formula = staticmethod(_formula)
SparseCategoricalCrossentropy.formula = staticmethod(formulas.sparse_categorical_crossentropy)

__all__ = [
    "NAMED",
    "Loss",
    "OwnLoss",
    "backpropagate",
    "compute",
    "get",
    "to_train_with",
    *sorted({cls.__name__ for cls in NAMED.values()}),
    *NAMED,
]


def __getattr__(name: str) -> Any:
    if name in ("MSE", "MAE", "MAPE", "MSLE", "KLD", "BCE"):
        return globals()[name.lower()]
    if name == "Reduction":
        return importlib.import_module("minitl.legacy.losses").Reduction
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
