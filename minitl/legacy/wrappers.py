"""`KerasClassifier` and `KerasRegressor`: a function that builds a compiled model, as an estimator of scikit-learn.

`minitl.sklearn` has estimators of today, which pass scikit-learn's own checks.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

FIT = ("batch_size", "epochs", "verbose", "callbacks", "validation_split", "shuffle", "class_weight")


class BaseWrapper:
    """What both share: `build_fn`, its arguments, and those of `fit`, by name.

    Errors: ValueError for a name that neither takes.
    """

    _estimator_type: str

    def __init__(self, build_fn: Callable[..., Any], **settings: Any):
        self.build_fn = build_fn
        self.settings: dict[str, Any] = {}
        self.set_params(**settings)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All settings."""
        return {"build_fn": self.build_fn, **self.settings}

    def set_params(self, **settings: Any) -> Any:
        """Change settings."""
        settings = {"epochs" if name == "nb_epoch" else name: value for name, value in settings.items()}
        known = {*FIT, *inspect.signature(self.build_fn).parameters}
        for name in set(settings) - known - {"build_fn"}:
            raise ValueError(f"{type(self).__name__}: neither {self.build_fn.__name__} nor fit takes {name!r}")
        self.build_fn = settings.pop("build_fn", self.build_fn)
        self.settings.update(settings)
        return self

    def __sklearn_tags__(self) -> Any:
        # What scikit-learn asks of an estimator; nobody else does.
        base: Any = importlib.import_module("sklearn.base")
        mixin = base.ClassifierMixin if self._estimator_type == "classifier" else base.RegressorMixin
        return type("Tagged", (mixin, base.BaseEstimator), {})().__sklearn_tags__()

    def fit(self, x: Any, y: Any, **settings: Any) -> Any:
        """Build and train a model; returns the history."""
        own = {name: value for name, value in self.settings.items() if name in inspect.signature(self.build_fn).parameters}
        self.model = self.build_fn(**own)
        return self.model.fit(np.asarray(x), np.asarray(self.encoded(y)), **{**self._of_fit(), **settings})

    def _of_fit(self) -> dict[str, Any]:
        return {name: value for name, value in self.settings.items() if name in FIT}

    def score(self, x: Any, y: Any, **_: Any) -> float:
        """Accuracy, or minus the loss."""
        results = self.model.evaluate(np.asarray(x), np.asarray(self.encoded(y)), verbose=0, return_dict=True)
        return next((results[name] for name in ("accuracy", "acc") if name in results), -results["loss"])

    def encoded(self, y: Any) -> Any:
        """Targets as the model takes them."""
        return y


class KerasClassifier(BaseWrapper):
    """A classifier."""

    _estimator_type = "classifier"

    def fit(self, x: Any, y: Any, **settings: Any) -> Any:
        """Build and train a model on labels, or on one-hot rows."""
        y = np.asarray(y)
        self.classes_ = np.arange(y.shape[1]) if y.ndim == 2 and y.shape[1] > 1 else np.unique(y)
        return super().fit(x, y, **settings)

    def encoded(self, y: Any) -> Any:
        """Labels as numbers, one-hot where the loss wants that."""
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] > 1:
            return y
        numbers = np.searchsorted(self.classes_, y.reshape(-1))
        wanted = type(self.model.loss).__name__ == "CategoricalCrossentropy"
        return np.eye(len(self.classes_))[numbers] if wanted else numbers

    def predict(self, x: Any, **_: Any) -> np.ndarray:
        """Labels."""
        return self.classes_[np.asarray(self.model.predict_classes(np.asarray(x))).reshape(-1)]

    def predict_proba(self, x: Any, **_: Any) -> np.ndarray:
        """Probabilities (N, classes)."""
        p = self.model.predict(np.asarray(x), verbose=0)
        return np.hstack([1 - p, p]) if p.shape[1] == 1 else p


class KerasRegressor(BaseWrapper):
    """A regressor."""

    _estimator_type = "regressor"

    def predict(self, x: Any, **_: Any) -> np.ndarray:
        """Numbers."""
        return np.squeeze(self.model.predict(np.asarray(x), verbose=0), axis=-1)
