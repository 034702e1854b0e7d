"""What a loss is: one number for how wrong a batch of predictions is, and its gradient.

All are means over the batch. A sample's weight multiplies its loss; the sum is still divided by the number of samples,
as in Keras.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.backend import op
from minitl.errors import wrong_shape
from minitl.serialization import constructor_arguments


class Loss:
    """A loss: `forward` gives the number, `backward` its gradient with respect to the predictions.

    Attributes: `operation` is the op that computes it; `activation` is the last activation with which it has a joint
    gradient. Then the model hands over what comes before that activation, with from_logits=True.
    The losses here keep nothing: `compute` gives the number and a cache, `backpropagate(cache)` the gradient.
    A loss of your own subclasses this, with `forward(y_true, y_pred, weights, from_logits)` and `backward()`.
    """

    operation: str
    activation: str | None = None
    from_logits: bool = False

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """The loss of some predictions."""
        y_pred = np.asarray(y_pred)
        if y_pred.dtype.kind != "f":
            y_pred = y_pred.astype(np.float32)
        weights = None if sample_weight is None else np.asarray(sample_weight, y_pred.dtype)
        return float(compute(self, np.asarray(y_true), y_pred, weights, self.from_logits)[0])

    def compute(self, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None, from_logits: bool) -> tuple[float, Any]:
        """The loss, and what backpropagate needs; weights (N,), or one for every single loss, or None."""
        targets = self.prepare(y_true, y_pred)
        if weights is not None:
            weights = self.spread(weights, self.losses_shape(y_pred))
        arguments = (from_logits,) if self.activation else ()
        return op(self.operation).forward(y_pred, targets, weights, *arguments)

    def backpropagate(self, cache: Any) -> np.ndarray:
        """The gradient with respect to what compute got as y_pred."""
        return op(self.operation).backward(1.0, cache)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None, from_logits: bool) -> float:
        """The loss, remembered for `backward`."""
        loss, self._kept = self.compute(y_true, y_pred, weights, from_logits)
        return loss

    def backward(self) -> np.ndarray:
        """The gradient with respect to what forward got as y_pred."""
        return self.backpropagate(self._kept)

    def spread(self, weights: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Sample weights for every single loss.

        Errors: ValueError unless there is one for each sample, or for each loss.
        """
        if weights.shape == shape:
            return weights
        if weights.size != shape[0]:
            raise wrong_shape(f"loss {self.name}: sample_weight", (shape[0],), weights.shape, "give one weight for each sample")
        return np.broadcast_to(weights.reshape(-1, *[1] * (len(shape) - 1)), shape)

    def prepare(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Targets as the op needs them.

        Errors: ValueError when their shape does not fit the predictions.
        """
        if y_true.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
            y_true = y_true[..., None]
        if y_true.shape != y_pred.shape:
            raise wrong_shape(f"loss {self.name}: targets", y_pred.shape, y_true.shape, "one target for every output")
        return y_true.astype(y_pred.dtype, copy=False)

    def losses_shape(self, y_pred: np.ndarray) -> tuple[int, ...]:
        """The shape of the single losses, before their mean."""
        return y_pred.shape

    @property
    def name(self) -> str:
        """The class's name."""
        return type(self).__name__

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return constructor_arguments(self)


def compute(
    loss: Loss, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None, from_logits: bool
) -> tuple[float, Any]:
    """Any loss's number and cache: one of the user's has a forward of its own, and keeps in self what its backward needs."""
    if type(loss).forward is not Loss.forward:
        return loss.forward(y_true, y_pred, weights, from_logits), None
    return loss.compute(y_true, y_pred, weights, from_logits)


def backpropagate(loss: Loss, cache: Any) -> np.ndarray:
    """Any loss's gradient."""
    return loss.backward() if type(loss).backward is not Loss.backward else loss.backpropagate(cache)
