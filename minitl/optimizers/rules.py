"""The rules that most programs use. They have compiled twins in `minitl.kernels.updates`.

Arguments and defaults are Keras's.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from minitl.backend import engine
from minitl.errors import check_numbers
from minitl.optimizers.base import Optimizer
from minitl.optimizers.prepared import Prepared


class SGD(Optimizer):
    """Gradient descent, with momentum.

    Formula: v = momentum v - rate g;  w += v,  or with Nesterov's look ahead  w += momentum v - rate g.
    Source: I. Sutskever et al., On the importance of initialization and momentum in deep learning, 2013.
    """

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        check_numbers(self, "[0, 1]", momentum=momentum)
        self.momentum, self.nesterov = momentum, nesterov

    def update(self, w: np.ndarray, g: np.ndarray, memory: dict[str, np.ndarray], rate: float) -> None:
        """Change w in place."""
        if not self.momentum:
            w -= rate * g
            return
        v = self.slot(memory, "velocity", w)
        v *= self.momentum
        v -= rate * g
        w += self.momentum * v - rate * g if self.nesterov else v

    @property
    def remembered(self) -> tuple[str, ...]:
        """The velocity, if there is one."""
        return ("velocity",) if self.momentum else ()

    @property
    def compiled(self) -> bool:
        """Unless a subclass has an `update` of its own."""
        return type(self).update is SGD.update

    def update_all(self, prepared: Prepared, gradients: list[np.ndarray], rate: float, decay: float) -> None:
        """One compiled pass."""
        engine("updates").sgd(prepared.table, gradients, rate, decay, self.momentum, self.nesterov)


class Adam(Optimizer):
    """Each weight gets a rate of its own, from running means of its gradient and of the gradient's square.

    Formula: m += (1 - beta_1) (g - m);  v += (1 - beta_2) (g^2 - v);
    w -= rate sqrt(1 - beta_2^t) / (1 - beta_1^t)  m / (sqrt(v) + epsilon), the fractions undoing the start from zero.
    With `amsgrad` the largest v so far stands in the place of v, so that no rate grows again; then the rule runs in NumPy.
    Source: D. Kingma and J. Ba, arXiv 1412.6980, with epsilon as at the end of its section 2; S. Reddi et al., On the convergence
    of Adam and beyond, 2018.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        check_numbers(self, "[0, 1]", beta_1=beta_1, beta_2=beta_2)
        check_numbers(self, "[0, inf)", epsilon=epsilon)
        self.beta_1, self.beta_2, self.epsilon, self.amsgrad = beta_1, beta_2, epsilon, bool(amsgrad)

    def update(self, w: np.ndarray, g: np.ndarray, memory: dict[str, np.ndarray], rate: float) -> None:
        """Change w in place."""
        m, v = self.slot(memory, "m", w), self.slot(memory, "v", w)
        m += (1 - self.beta_1) * (g - m)
        v += (1 - self.beta_2) * (g * g - v)
        if self.amsgrad:
            largest = self.slot(memory, "largest", w)
            v = np.maximum(v, largest, out=largest)
        w -= rate * self._correction(memory) * m / (np.sqrt(v) + self.epsilon)

    @property
    def remembered(self) -> tuple[str, ...]:
        """The two means, and the largest of the second."""
        return ("m", "v", "largest") if self.amsgrad else ("m", "v")

    @property
    def compiled(self) -> bool:
        """Not with the largest mean."""
        return type(self).update is Adam.update and not self.amsgrad

    def update_all(self, prepared: Prepared, gradients: list[np.ndarray], rate: float, decay: float) -> None:
        """One compiled pass."""
        rates = [rate * self._correction(memory) for memory in prepared.memories]
        engine("updates").adam(prepared.table, gradients, rates, rate * decay, self.beta_1, self.beta_2, self.epsilon)

    def _correction(self, memory: dict[str, np.ndarray]) -> float:
        t = memory.get("t")
        if t is None:
            t = memory["t"] = np.zeros((), np.int64)  # its own: a layer may be unfrozen late
        count = t.item() + 1
        t.fill(count)
        return _from_zero(count, self.beta_1, self.beta_2)


class AdamW(Adam):
    """Adam with weight decay by default.

    Source: I. Loshchilov and F. Hutter, arXiv 1711.05101.
    """

    def __init__(self, learning_rate: Any = 0.001, weight_decay: float = 0.004, **kwargs: Any):
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)


class RMSprop(Optimizer):
    """The gradient over the root of its running mean square.

    Formula: v += (1 - rho) (g^2 - v);  step = rate g / sqrt(v + epsilon);  w -= step.
    With momentum, u = momentum u + step;  w -= u. If `centered`, a running mean of the gradient, a += (1 - rho) (g - a), is taken
    out, step = rate g / sqrt(v - a^2 + epsilon); then the rule runs in NumPy.
    Source: G. Hinton, Neural networks for machine learning, lecture 6e.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        check_numbers(self, "[0, 1]", rho=rho, momentum=momentum)
        check_numbers(self, "[0, inf)", epsilon=epsilon)
        self.rho, self.momentum, self.epsilon, self.centered = rho, momentum, epsilon, bool(centered)

    def update(self, w: np.ndarray, g: np.ndarray, memory: dict[str, np.ndarray], rate: float) -> None:
        """Change w in place."""
        v = self.slot(memory, "velocity", w)
        v += (1 - self.rho) * (g * g - v)
        if self.centered:
            a = self.slot(memory, "gradient", w)
            a += (1 - self.rho) * (g - a)
            v = np.maximum(v - a * a, 0)
        step = rate * g / np.sqrt(v + self.epsilon)
        if self.momentum:
            u = self.slot(memory, "momentum", w)
            u *= self.momentum
            u += step
            step = u
        w -= step

    @property
    def remembered(self) -> tuple[str, ...]:
        """The mean square, and the momentum and the mean, if there are any."""
        return ("velocity", *(("momentum",) if self.momentum else ()), *(("gradient",) if self.centered else ()))

    @property
    def compiled(self) -> bool:
        """Not with the mean taken out."""
        return type(self).update is RMSprop.update and not self.centered

    def update_all(self, prepared: Prepared, gradients: list[np.ndarray], rate: float, decay: float) -> None:
        """One compiled pass."""
        engine("updates").rmsprop(prepared.table, gradients, rate, decay, self.rho, self.momentum, self.epsilon)


@functools.lru_cache(maxsize=16)
def _from_zero(t: int, beta_1: float, beta_2: float) -> float:
    """What undoes the start of Adam's means from zero."""
    return math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
