"""More rules that give each weight a rate of its own. They run in NumPy, in either backend.

Arguments and defaults are Keras's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minitl.errors import check_numbers
from minitl.optimizers.base import Optimizer

Memory = dict[str, np.ndarray]


class Adagrad(Optimizer):
    """The rate falls with the root of all squared gradients so far.

    Formula: a += g^2;  w -= rate g / sqrt(a + epsilon), a beginning at `initial_accumulator_value`.
    Source: J. Duchi, E. Hazan and Y. Singer, Adaptive subgradient methods, JMLR 12, 2011.
    """

    def __init__(self, learning_rate: Any = 0.001, initial_accumulator_value: float = 0.1, epsilon: float = 1e-7, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        check_numbers(self, "[0, inf)", initial_accumulator_value=initial_accumulator_value, epsilon=epsilon)
        self.initial_accumulator_value, self.epsilon = initial_accumulator_value, epsilon

    @property
    def remembered(self) -> tuple[str, ...]:
        """The sum of squares."""
        return ("accumulator",)

    def update(self, w: np.ndarray, g: np.ndarray, memory: Memory, rate: float) -> None:
        """Change w in place."""
        if "accumulator" not in memory:
            memory["accumulator"] = np.full_like(w, self.initial_accumulator_value)
        a = memory["accumulator"]
        a += g * g
        w -= rate * g / np.sqrt(a + self.epsilon)


class Adadelta(Optimizer):
    """Steps in the units of the weights: the root of the mean square of past steps over that of past gradients.

    Formula: a = rho a + (1 - rho) g^2;  d = g sqrt(b + epsilon) / sqrt(a + epsilon);  b = rho b + (1 - rho) d^2;  w -= rate d.
    Source: M. Zeiler, arXiv 1212.5701.
    """

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        check_numbers(self, "[0, 1]", rho=rho)
        check_numbers(self, "[0, inf)", epsilon=epsilon)
        self.rho, self.epsilon = rho, epsilon

    @property
    def remembered(self) -> tuple[str, ...]:
        """The mean squares of gradients and of steps."""
        return ("gradients", "steps")

    def update(self, w: np.ndarray, g: np.ndarray, memory: Memory, rate: float) -> None:
        """Change w in place."""
        a, b = self.slot(memory, "gradients", w), self.slot(memory, "steps", w)
        a *= self.rho
        a += (1 - self.rho) * (g * g)
        d = g * np.sqrt(b + self.epsilon) / np.sqrt(a + self.epsilon)
        b *= self.rho
        b += (1 - self.rho) * (d * d)
        w -= rate * d


class Adamax(Optimizer):
    """Adam with the largest gradient, slowly forgotten, in place of the root of the mean square.

    Formula: m += (1 - beta_1) (g - m);  u = max(beta_2 u, |g|);  w -= rate / (1 - beta_1^t) m / (u + epsilon).
    Source: D. Kingma and J. Ba, arXiv 1412.6980, section 7.1.
    """

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7, **kwargs: Any
    ):
        super().__init__(learning_rate, **kwargs)
        check_numbers(self, "[0, 1]", beta_1=beta_1, beta_2=beta_2)
        check_numbers(self, "[0, inf)", epsilon=epsilon)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    @property
    def remembered(self) -> tuple[str, ...]:
        """The mean, and the largest."""
        return ("m", "u")

    def update(self, w: np.ndarray, g: np.ndarray, memory: Memory, rate: float) -> None:
        """Change w in place."""
        m, u, t = self.slot(memory, "m", w), self.slot(memory, "u", w), _count(memory)
        m += (1 - self.beta_1) * (g - m)
        np.maximum(self.beta_2 * u, np.abs(g), out=u)
        w -= rate / (1 - self.beta_1**t) * m / (u + self.epsilon)


class Nadam(Optimizer):
    """Adam that looks ahead, as Nesterov's momentum does.

    Formula: mu_t = beta_1 (1 - 0.5 0.96^t);  m += (1 - beta_1) (g - m);  v += (1 - beta_2) (g^2 - v);
    w -= rate (mu_{t+1} m / (1 - prod_{i <= t+1} mu_i) + (1 - mu_t) g / (1 - prod_{i <= t} mu_i))
    / (sqrt(v / (1 - beta_2^t)) + epsilon).
    Source: T. Dozat, Incorporating Nesterov momentum into Adam, 2016.
    """

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7, **kwargs: Any
    ):
        super().__init__(learning_rate, **kwargs)
        check_numbers(self, "[0, 1]", beta_1=beta_1, beta_2=beta_2)
        check_numbers(self, "[0, inf)", epsilon=epsilon)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    @property
    def remembered(self) -> tuple[str, ...]:
        """The two means."""
        return ("m", "v")

    def update(self, w: np.ndarray, g: np.ndarray, memory: Memory, rate: float) -> None:
        """Change w in place."""
        m, v, t = self.slot(memory, "m", w), self.slot(memory, "v", w), _count(memory)
        mu = [self.beta_1 * (1 - 0.5 * 0.96**i) for i in range(1, t + 2)]
        product = math.prod(mu[:-1])
        m += (1 - self.beta_1) * (g - m)
        v += (1 - self.beta_2) * (g * g - v)
        ahead = mu[-1] * m / (1 - product * mu[-1]) + (1 - mu[-2]) * g / (1 - product)
        w -= rate * ahead / (np.sqrt(v / (1 - self.beta_2**t)) + self.epsilon)


class Lion(Optimizer):
    """Steps of one size in the direction of the sign of a mean.

    Formula: w -= rate sign(beta_1 m + (1 - beta_1) g);  m = beta_2 m + (1 - beta_2) g.
    Source: X. Chen et al., arXiv 2302.06675.
    """

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        check_numbers(self, "[0, 1]", beta_1=beta_1, beta_2=beta_2)
        self.beta_1, self.beta_2 = beta_1, beta_2

    @property
    def remembered(self) -> tuple[str, ...]:
        """The mean."""
        return ("m",)

    def update(self, w: np.ndarray, g: np.ndarray, memory: Memory, rate: float) -> None:
        """Change w in place."""
        m = self.slot(memory, "m", w)
        w -= rate * np.sign(self.beta_1 * m + (1 - self.beta_1) * g)
        m *= self.beta_2
        m += (1 - self.beta_2) * g


def _count(memory: Memory) -> int:
    """Which step this is, counted from 1."""
    t = memory.get("t")
    if t is None:
        t = memory["t"] = np.zeros((), np.int64)
    t += 1
    return int(t)
