"""What all optimizers share: rate, clipping, weight decay, and the memory of each parameter.

Arguments and defaults are Keras's. Weight decay is decoupled: w -= rate decay w, before the update, whatever the rule
(I. Loshchilov and F. Hutter, arXiv 1711.05101). What is frozen never arrives here, so neither momentum nor decay can
move it.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from minitl import schedules
from minitl.backend import engine, get_backend
from minitl.errors import check_numbers
from minitl.layers.names import default_name
from minitl.layers.variable import Variable
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
    With `use_ema` a running mean of each weight is kept, m = ema_momentum m + (1 - ema_momentum) w after every step, which begins
    at the first step's w. It takes the weight's place every `ema_overwrite_frequency` steps, and at the end of `fit`.
    With `gradient_accumulation_steps=k` every k-th step updates, by the mean of k gradients; clipping and schedules
    see updates, means of weights all steps.
    Errors: ValueError for a rate or limit that is not positive, or a momentum outside 0 to 1.
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
        name: str | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        gradient_accumulation_steps: int | None = None,
    ):
        self.name = name or default_name(type(self))
        check_numbers(self, "[0, inf)", decay=decay)
        check_numbers(self, "[0, inf) or None", weight_decay=weight_decay)
        check_numbers(self, "(0, inf) or None", clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm)
        check_numbers(self, "[0, 1]", ema_momentum=ema_momentum)
        check_numbers(self, "[1, inf) or None", ema_overwrite_frequency=ema_overwrite_frequency)
        check_numbers(self, "[2, inf) or None", gradient_accumulation_steps=gradient_accumulation_steps)
        self.use_ema, self.ema_momentum, self.ema_overwrite_frequency = bool(use_ema), ema_momentum, ema_overwrite_frequency
        self.gradient_accumulation_steps = gradient_accumulation_steps
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
        updates, before = list(updates), self.iterations
        gathered = self._accumulated(updates, self.gradient_accumulation_steps) if self.gradient_accumulation_steps else updates
        if gathered or not updates:
            self._apply_now(gathered)
        if self.use_ema:
            self._average(updates, before)

    def _apply_now(self, updates: list[Update]) -> None:
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

    def finalize_variable_values(self, var_list: Iterable[np.ndarray]) -> None:
        """Put the running means in the place of these weights, if `use_ema`; `fit` does it at its end."""
        if self.use_ema:
            final = {id(w) for w in var_list}
            for path, w in self._owner.items():
                if id(w) in final and "average" in self.memory[path]:
                    w[...] = self.memory[path]["average"]

    def _accumulated(self, updates: list[Update], steps: int) -> list[Update]:
        """The means of the gradients of `steps` calls at the last of them, nothing before."""
        memories = [self._memory_of(path, w) for path, w, _ in updates]
        for memory, (_, w, g) in zip(memories, updates, strict=True):
            total = self.slot(memory, "accumulated", w)
            total += g
            memory["calls"] = memory.get("calls", np.zeros((), np.int64)) + 1
        if max((memory["calls"] for memory in memories), default=0) < steps:
            return []
        # A weight that is unfrozen late has fewer gradients.
        return [
            (path, w, memory.pop("accumulated") / w.dtype.type(memory.pop("calls")))
            for memory, (path, w, _) in zip(memories, updates, strict=True)
        ]

    def _average(self, updates: list[Update], before: int) -> None:
        """After each call, as in Keras also after one that only accumulates; `before` counts the updates before it."""
        overwrites = self.ema_overwrite_frequency and (before + 1) % self.ema_overwrite_frequency == 0
        for path, w, _ in updates:
            memory = self._memory_of(path, w)
            average = memory.setdefault("average", w.copy())
            momentum = self.ema_momentum if before else 0.0
            average *= momentum
            average += (1 - momentum) * w
            if overwrites:
                w[...] = average

    def _apply_at(self, key: tuple[float, bool], updates: list[Update], rate: float, decay: float) -> None:
        if get_backend() == "numba" and self.compiled and updates:
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

    @property
    def compiled(self) -> bool:
        """Whether `update_all` does what `update` says: not in a subclass with an `update` of its own."""
        return False

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
    def variables(self) -> list[Variable]:
        """The number of updates, the rate, and what is remembered of each parameter, each a copy."""
        found = {"iteration": np.asarray(self.iterations), "learning_rate": np.asarray(self.current_learning_rate)}
        remembered = {f"{path}/{name}": slot for path, slots in self.memory.items() for name, slot in slots.items()}
        return [Variable.of(np.array(array), name, self.name, False) for name, array in {**found, **remembered}.items()]

    @property
    def lr(self) -> Any:
        """`learning_rate` under the name that older programs use."""
        return self.learning_rate

    @lr.setter
    def lr(self, value: Any) -> None:
        self.learning_rate = value

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, its name only if it is another than the class's."""
        skip = ("lr", "name") if self.name == default_name(type(self)) else ("lr",)
        return {**constructor_arguments(self, skip=skip), "learning_rate": self._rate}

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
