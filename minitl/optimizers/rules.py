"""What all optimizers share, and those that most programs use.

Arguments and defaults are Keras's. Weight decay is decoupled: w -= rate decay w, before the update, whatever the rule
(I. Loshchilov and F. Hutter, arXiv 1711.05101). What is frozen never arrives here, so neither momentum nor decay can
move it.
"""

from __future__ import annotations

import fnmatch
import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from minitl import schedules
from minitl.backend import engine, get_backend
from minitl.errors import check_numbers
from minitl.optimizers.prepared import Prepared, alike
from minitl.optimizers.rate import Rate
from minitl.serialization import constructor_arguments

Update = tuple[str, np.ndarray, np.ndarray]  # path, parameter, gradient


class Optimizer:
    """What all optimizers share: rate, clipping, weight decay, and the memory of each parameter.

    `learning_rate` is a number or a schedule. `clipvalue` cuts every entry of a gradient to +-clipvalue, `clipnorm`
    scales a gradient down to that norm, `global_clipnorm` all gradients together. `multipliers` maps names of layers or
    parameters, or patterns ("conv*", "*/beta"), to factors of the rate, the first that matches counts; a factor of 0 leaves the
    parameters as they are, bit by bit.
    `decay`, of older programs, divides the rate by 1 + decay steps.
    Errors: ValueError for a rate or limit that is not positive.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        lr: Any = None,
        multipliers: dict[str, float] | None = None,
        decay: float = 0.0,
    ):
        check_numbers(self, "[0, inf)", decay=decay)
        check_numbers(self, "[0, inf) or None", weight_decay=weight_decay)
        check_numbers(self, "(0, inf) or None", clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm)
        self.decay = decay
        self.learning_rate = schedules.get(learning_rate if lr is None else lr)
        if not callable(self.learning_rate):
            check_numbers(self, "[0, inf)", learning_rate=self.learning_rate)
        self.weight_decay, self.clipnorm, self.clipvalue = weight_decay, clipnorm, clipvalue
        self.global_clipnorm = global_clipnorm
        if multipliers is not None and not isinstance(multipliers, dict):
            raise TypeError(f"{type(self).__name__}: multipliers must be a dict of patterns and factors, got {multipliers!r}")
        check_numbers(self, "[0, inf)", **{f"multipliers[{name!r}]": factor for name, factor in (multipliers or {}).items()})
        self.multipliers = multipliers
        self.iterations = 0
        self.memory: dict[str, dict[str, np.ndarray]] = {}
        self._owner: dict[str, np.ndarray] = {}  # whose memory it is
        self._passes: dict[tuple[float, bool], Prepared] = {}  # by the factor of the rate, and whether weights decay
        self.undecayed: list[str] = []  # parts of names

    def update(self, w: np.ndarray, g: np.ndarray, memory: dict[str, np.ndarray], rate: float) -> None:
        """Change w in place; `memory` is this parameter's own."""
        raise NotImplementedError(f"{type(self).__name__} must define update(w, g, memory, rate)")

    def apply(self, updates: Iterable[Update]) -> None:
        """One step for all parameters."""
        updates = list(updates)
        if self.clipvalue is not None or self.clipnorm is not None:
            updates = [(path, w, self._clip(g)) for path, w, g in updates]
        if self.global_clipnorm is not None:
            norm = math.sqrt(sum(float(np.vdot(g, g)) for _, _, g in updates))
            if norm > self.global_clipnorm:
                updates = [(path, w, g * (self.global_clipnorm / norm)) for path, w, g in updates]
        rate = self.current_learning_rate
        self.iterations += 1
        for (factor, decays), group in self._by_factor(updates).items():
            self._apply_at((factor, decays), group, rate * factor, self.weight_decay or 0.0 if decays else 0.0)

    def _apply_at(self, key: tuple[float, bool], updates: list[Update], rate: float, decay: float) -> None:
        if get_backend() == "numba" and type(self).update in COMPILED and updates:
            prepared = self._passes.get(key)
            if prepared is None or not prepared.fits(updates, self.remembered):
                prepared = self._passes[key] = self._prepare(updates)
            if prepared.table is not None:
                self.update_all(prepared, [g for _, _, g in updates], rate, decay)
                return
        for path, w, g in updates:
            if decay:
                w -= w * (rate * decay)
            self.update(w, g, self._memory_of(path, w), rate)

    def _prepare(self, updates: list[Update]) -> Prepared:
        paths, weights, _ = map(list, zip(*updates, strict=True))
        memories = [self._memory_of(path, w) for path, w, _ in updates]
        table = None
        if alike(weights):
            slots = [[self.slot(m, name, w) for name in self.remembered] for m, w in zip(memories, weights, strict=True)]
            table = engine("updates").Table(weights, slots)
        return Prepared(paths, weights, self.remembered, memories, table)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_passes": {}}  # a copy has arrays of its own

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Iterable[str] = ()) -> None:
        """Leave parameters out of weight decay, by parts of their names ("beta", "dense/kernel"), as in Keras."""
        if var_list is not None:
            raise ValueError("exclude_from_weight_decay: parameters are arrays here and have no names; give var_names=")
        self.undecayed = [*self.undecayed, *var_names]

    def _by_factor(self, updates: list[Update]) -> dict[tuple[float, bool], list[Update]]:
        """The updates by the factor of their rate, and whether their weights decay."""
        if not self.multipliers and not self.undecayed:
            return {(1.0, True): updates}
        groups: dict[tuple[float, bool], list[Update]] = {}
        for update in updates:
            factor = self.multiplier_of(update[0].rpartition("/")[0], update[0])
            if factor > 0:
                decays = not any(name in update[0] for name in self.undecayed)
                groups.setdefault((factor, decays), []).append(update)
        return groups

    def multiplier_of(self, layer: str, parameter: str = "") -> float:
        """The factor of the rate for a layer by its path, or for one of its parameters by its own."""
        for pattern, factor in (self.multipliers or {}).items():
            if fnmatch.fnmatchcase(layer, pattern) or fnmatch.fnmatchcase(parameter, pattern):
                return factor
        return 1.0

    def forget(self) -> None:
        """Begin with an empty memory."""
        self.memory, self._owner, self._passes, self.iterations = {}, {}, {}, 0

    @property
    def remembered(self) -> tuple[str, ...]:
        """The names of the arrays that are remembered of each weight."""
        return ()

    def update_all(self, prepared: Prepared, gradients: list[np.ndarray], rate: float, decay: float) -> None:
        """The same for all parameters at once, weight decay included, in one compiled pass."""
        raise NotImplementedError

    @property
    def current_learning_rate(self) -> float:
        """The rate of the next step."""
        rate = schedules.rate_at(self.learning_rate, self.iterations)
        return rate / (1 + self.decay * self.iterations) if self.decay else rate

    @property
    def learning_rate(self) -> Any:
        """The rate, or the schedule of it."""
        return self._rate if callable(self._rate) else Rate(self._rate, self)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._rate = float(value) if isinstance(value, Rate) else value

    @property
    def lr(self) -> Any:
        """`learning_rate` under the name that older programs use."""
        return self.learning_rate

    @lr.setter
    def lr(self, value: Any) -> None:
        self.learning_rate = value

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**constructor_arguments(self, skip=("lr",)), "learning_rate": self._rate}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """An optimizer with these arguments, and an empty memory."""
        return cls(**config)

    def slot(self, memory: dict[str, np.ndarray], name: str, w: np.ndarray) -> np.ndarray:
        """A remembered array like w, zeros at first."""
        remembered = memory.get(name)
        if remembered is None:
            remembered = memory[name] = np.zeros_like(w)
        return remembered

    def slot_fits(self, name: str, slot: np.ndarray, w: np.ndarray) -> bool:
        """Whether an array can be what is remembered of w under this name: finite, and of w's shape unless it is a count."""
        shapes = (w.shape,) if name in self.remembered else ((),) if name == "t" else ((), w.shape)
        return slot.shape in shapes and bool(np.isfinite(slot).all())

    def _memory_of(self, path: str, w: np.ndarray) -> dict[str, np.ndarray]:
        # Another array under the same path is another parameter (a new head, say): it starts with an empty memory.
        if self._owner.get(path) is not w:
            restored = self.memory.get(path, {}) if path not in self._owner else {}
            if any(not self.slot_fits(name, slot, w) for name, slot in restored.items()):
                restored = {}
            # Kernels write into what is remembered, so it must be as the parameter is.
            self.memory[path] = {
                name: np.array(slot, w.dtype if name in self.remembered else None, order="C") for name, slot in restored.items()
            }
            self._owner[path] = w
        return self.memory[path]

    def _clip(self, g: np.ndarray) -> np.ndarray:
        if self.clipvalue is not None:
            g = np.clip(g, -self.clipvalue, self.clipvalue)
        if self.clipnorm is not None:
            norm = math.sqrt(float(np.vdot(g, g)))
            if norm > self.clipnorm:
                g = g * (self.clipnorm / norm)
        return g


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

    def update_all(self, prepared: Prepared, gradients: list[np.ndarray], rate: float, decay: float) -> None:
        """One compiled pass."""
        engine("updates").sgd(prepared.table, gradients, rate, decay, self.momentum, self.nesterov)


class Adam(Optimizer):
    """Each weight gets a rate of its own, from running means of its gradient and of the gradient's square.

    Formula: m += (1 - beta_1) (g - m);  v += (1 - beta_2) (g^2 - v);
    w -= rate sqrt(1 - beta_2^t) / (1 - beta_1^t)  m / (sqrt(v) + epsilon), the fractions undoing the start from zero.
    Source: D. Kingma and J. Ba, arXiv 1412.6980, with epsilon as at the end of its section 2.
    """

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7, **kwargs: Any
    ):
        super().__init__(learning_rate, **kwargs)
        check_numbers(self, "[0, 1]", beta_1=beta_1, beta_2=beta_2)
        check_numbers(self, "[0, inf)", epsilon=epsilon)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def update(self, w: np.ndarray, g: np.ndarray, memory: dict[str, np.ndarray], rate: float) -> None:
        """Change w in place."""
        m, v = self.slot(memory, "m", w), self.slot(memory, "v", w)
        m += (1 - self.beta_1) * (g - m)
        v += (1 - self.beta_2) * (g * g - v)
        w -= rate * self._correction(memory) * m / (np.sqrt(v) + self.epsilon)

    @property
    def remembered(self) -> tuple[str, ...]:
        """The two means."""
        return ("m", "v")

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
    With momentum, u = momentum u + step;  w -= u.
    Source: G. Hinton, Neural networks for machine learning, lecture 6e.
    """

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        check_numbers(self, "[0, 1]", rho=rho, momentum=momentum)
        check_numbers(self, "[0, inf)", epsilon=epsilon)
        self.rho, self.momentum, self.epsilon = rho, momentum, epsilon

    def update(self, w: np.ndarray, g: np.ndarray, memory: dict[str, np.ndarray], rate: float) -> None:
        """Change w in place."""
        v = self.slot(memory, "velocity", w)
        v += (1 - self.rho) * (g * g - v)
        step = rate * g / np.sqrt(v + self.epsilon)
        if self.momentum:
            u = self.slot(memory, "momentum", w)
            u *= self.momentum
            u += step
            step = u
        w -= step

    @property
    def remembered(self) -> tuple[str, ...]:
        """The mean square, and the momentum, if there is one."""
        return ("velocity", "momentum") if self.momentum else ("velocity",)

    def update_all(self, prepared: Prepared, gradients: list[np.ndarray], rate: float, decay: float) -> None:
        """One compiled pass."""
        engine("updates").rmsprop(prepared.table, gradients, rate, decay, self.rho, self.momentum, self.epsilon)


# The rules that have a compiled twin. A subclass with an `update` of its own runs that.
COMPILED = {SGD.update, Adam.update, RMSprop.update}


@functools.lru_cache(maxsize=16)
def _from_zero(t: int, beta_1: float, beta_2: float) -> float:
    """What undoes the start of Adam's means from zero."""
    return math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
