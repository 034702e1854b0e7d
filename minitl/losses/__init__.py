"""Losses: one number for how wrong a batch of predictions is, and its gradient.

base          what a loss is
crossentropy  categorical, sparse categorical, binary
chain         of whole sequences of labels
distances     squared, absolute, hinge, Huber, ...

Each is there as a class, and as a function of (y_true, y_pred) under its lower-case name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

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
from minitl.serialization import lookup

NAMED: dict[str, type[Loss]] = {
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "binary_crossentropy": BinaryCrossentropy,
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
}


def get(identifier: Any) -> Loss:
    """The loss of a name ("categorical_crossentropy"), of a function of that name, or the object itself.

    Errors: ValueError for an unknown name; TypeError for a function of your own, which has no gradient.
    """
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        identifier = identifier()
    name = getattr(identifier, "__name__", "")
    if callable(identifier) and not isinstance(identifier, Loss) and name in NAMED:
        identifier = name  # a function of this module, or of Keras's
    loss = lookup("loss", identifier, NAMED)
    if not isinstance(loss, Loss):
        raise TypeError(
            f"a loss must be a name or a minitl.losses.Loss, got {loss!r}; a function of your own has no gradient here: write a "
            "Loss with forward and backward"
        )
    return loss


def _function(name: str) -> Callable[..., np.ndarray]:
    def of_samples(y_true: Any, y_pred: Any, **settings: Any) -> np.ndarray:
        loss = NAMED[name](**settings)
        t, p = np.asarray(y_true), np.atleast_2d(np.asarray(y_pred, np.float32))
        return np.array([loss(t[i : i + 1], p[i : i + 1]) for i in range(len(p))], np.float32)

    of_samples.__name__ = of_samples.__qualname__ = name
    of_samples.__doc__ = f"The loss of every sample: see {NAMED[name].__name__}."
    return of_samples


globals().update({name: _function(name) for name in NAMED})

__all__ = ["NAMED", "Loss", "backpropagate", "compute", "get", *sorted({cls.__name__ for cls in NAMED.values()}), *NAMED]
