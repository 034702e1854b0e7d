"""Networks as estimators of scikit-learn: for `Pipeline`, `GridSearchCV`, `cross_val_score`. Needs the extra `sklearn`.

NetworkClassifier, NetworkRegressor   a network of yours, or a small one of dense layers, on rows of numbers or on images
ImageClassifier                       photographs (files or arrays): features of a pretrained network, and a classifier on them
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.layers import Dense, Input
from minitl.models import Model, Sequential
from minitl.optimizers import Adam
from minitl.photographs import head
from minitl.random import seeded
from minitl.schedules import LinearDecay

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError('scikit-learn is not installed; install it with: pip install "minitl[sklearn]"') from error

Build = Callable[[tuple[int, ...], int], Model]


class _Network(BaseEstimator):
    """What classifier and regressor share.

    `build(input_shape, outputs)` gives a model whose outputs are logits (classes) or numbers; without it, dense layers of
    `hidden` units with ReLU on standardized inputs. Adam's rate falls from `learning_rate` to zero.
    Attributes: `model_`, `history_`, `n_features_in_`.
    """

    def __init__(
        self,
        build: Build | None = None,
        hidden: tuple[int, ...] = (64,),
        epochs: int = 60,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.build, self.hidden, self.epochs, self.batch_size = build, hidden, epochs, batch_size
        self.learning_rate, self.random_state, self.verbose = learning_rate, random_state, verbose

    def _rows(self, x: Any, reset: bool) -> np.ndarray:
        """Inputs as numbers, standardized where the network is ours; images stay as they are."""
        x = validate_data(self, x, reset=reset, allow_nd=self.build is not None, dtype="numeric", ensure_min_samples=1)
        if reset:
            flat = np.asarray(x, float)
            self._mean, self._spread = flat.mean(axis=0), flat.std(axis=0) + 1e-7
        return np.asarray(x if self.build is not None else (x - self._mean) / self._spread, np.float32)

    def _train(self, x: np.ndarray, y: np.ndarray, outputs: int, loss: Any, weights: Any) -> None:
        seed = self.random_state
        if isinstance(seed, np.random.RandomState):
            seed = int(seed.randint(2**31))
        with seeded(0 if seed is None else int(seed)):
            shape = x.shape[1:]
            if self.build is not None:
                model = self.build(shape, outputs)
            else:
                model = Sequential([Input(shape), *(Dense(n, activation="relu") for n in self.hidden), Dense(outputs)])
            steps = self.epochs * -(-len(x) // self.batch_size)
            model.compile(Adam(LinearDecay(self.learning_rate, steps)), loss)
            done = model.fit(x, y, self.batch_size, self.epochs, self.verbose, sample_weight=weights)
        self.model_, self.history_, self.n_iter_ = model, done.history, self.epochs

    def _outputs(self, x: Any) -> np.ndarray:
        check_is_fitted(self)
        return self.model_.predict(self._rows(x, False), verbose=0)


class NetworkClassifier(ClassifierMixin, _Network):
    """A classifier; `classes_` are the labels in the order of the probabilities."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> NetworkClassifier:
        """Train on X (N, features) or images (N, H, W, C), and labels y (N,)."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        x = self._rows(X, True)
        y = _column(y, len(x))
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__}: at least two classes are needed, got one class: {self.classes_}")
        from minitl.losses import SparseCategoricalCrossentropy

        self._train(
            x, numbers, len(self.classes_), SparseCategoricalCrossentropy(from_logits=True), _weights(sample_weight, len(x))
        )
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (N, classes)."""
        logits = self._outputs(X).astype(float)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of every sample."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class NetworkRegressor(RegressorMixin, _Network):
    """A regressor; targets are standardized for training."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> NetworkRegressor:
        """Train on X (N, features) or images, and numbers y (N,)."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        x = self._rows(X, True)
        y = _column(y, len(x)).astype(float)
        if not np.isfinite(y).all():
            raise ValueError("y contains NaN or infinity")
        self._middle, self._scale = float(y.mean()), float(y.std()) + 1e-7
        target = ((y - self._middle) / self._scale).astype(np.float32)[:, None]
        self._train(x, target, 1, "mse", _weights(sample_weight, len(x)))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Numbers (N,)."""
        return self._outputs(X)[:, 0].astype(float) * self._scale + self._middle


class ImageClassifier(ClassifierMixin, BaseEstimator):
    """Photographs: features of EfficientNet-Lite0 at `size` pixels, and a classifier on them.

    X holds paths of files, or images (H, W, 3) of 0 .. 255. `strength` regularizes the classifier; None chooses it by
    cross-validation. Features of files are kept in the folder `cache`.
    """

    def __init__(self, size: int = 224, strength: float | None = None, cache: Any = None, random_state: int = 0):
        self.size, self.strength, self.cache, self.random_state = size, strength, cache, random_state

    def fit(self, X: Any, y: Any) -> ImageClassifier:
        """Train on photographs and their labels."""
        x = self._features(X)
        y = _column(y, len(x))
        self.classes_, numbers = np.unique(y, return_inverse=True)
        count = len(self.classes_)
        strength = head.chosen(x, numbers, count, self.random_state)[0] if self.strength is None else self.strength
        self.strength_ = strength
        self.kernel_, self.bias_ = head.fit(x, numbers, strength, count)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (N, classes)."""
        check_is_fitted(self)
        logits = self._features(X) @ self.kernel_ + self.bias_
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of every photograph."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _features(self, X: Any) -> np.ndarray:
        from PIL import Image

        from minitl.photographs.base import PACKAGED, pretrained
        from minitl.photographs.features import features

        base: Any = pretrained(PACKAGED, self.size)
        if isinstance(X[0], (str, os.PathLike)):
            found, places = features(base, [str(path) for path in X], self.size, self.cache)
            if len(places) < len(X):
                raise ValueError(f"{len(X) - len(places)} of {len(X)} photographs cannot be read")
            return found
        images = [np.asarray(Image.fromarray(np.asarray(x, np.uint8)).resize((self.size, self.size), 3)) for x in X]
        made = [base.predict_on_batch(base.preprocessing(np.stack(images[i : i + 32]))) for i in range(0, len(images), 32)]
        return np.concatenate(made)


def _column(y: Any, samples: int) -> np.ndarray:
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        import warnings

        from sklearn.exceptions import DataConversionWarning

        warnings.warn("A column-vector y was passed when a 1d array was expected", DataConversionWarning, stacklevel=3)
        y = y[:, 0]
    if y.ndim != 1 or len(y) != samples:
        raise ValueError(
            f"y must have one entry for each of the {samples} samples, got shape {y.shape}; inconsistent numbers of samples"
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("Input y contains NaN or infinity")
    return y


def _weights(sample_weight: Any, samples: int) -> Any:
    if sample_weight is None:
        return None
    found = np.asarray(sample_weight, np.float32)
    if found.shape != (samples,):
        raise ValueError(f"sample_weight.shape == {found.shape}, expected {(samples,)}!")
    if not found.any():
        raise ValueError("all sample weights are zero")
    return found
