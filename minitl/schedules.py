"""Learning rates that change while training: functions of the number of updates done.

Give one to an optimizer in the place of a number. Your own schedule is any function from a step to a rate.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from minitl.errors import check_numbers
from minitl.serialization import Configured, decode

RATE, STEPS = "[0, inf)", "(0, inf)"


class Schedule(Configured):
    """A learning rate for every step, counted from 0; one of your own defines `__call__(step)`."""

    def __call__(self, step: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(step)")


LearningRateSchedule = Schedule  # Keras's name


class Constant(Schedule):
    """The same rate for ever."""

    def __init__(self, learning_rate: float):
        check_numbers(self, RATE, learning_rate=learning_rate)
        self.learning_rate = learning_rate

    def __call__(self, step: int) -> float:
        return self.learning_rate


class StepDecay(Schedule):
    """Multiplied by `factor` after every `step_size` updates.

    Formula: rate(t) = initial factor^floor(t / step_size).
    """

    def __init__(self, initial_learning_rate: float, step_size: int, factor: float = 0.1):
        check_numbers(self, RATE, initial_learning_rate=initial_learning_rate, factor=factor)
        check_numbers(self, STEPS, step_size=step_size)
        self.initial_learning_rate, self.step_size, self.factor = initial_learning_rate, step_size, factor

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate * self.factor ** (step // self.step_size)


class LinearDecay(Schedule):
    """Straight from the initial rate to `end_learning_rate` in `decay_steps`, and constant from there."""

    def __init__(self, initial_learning_rate: float, decay_steps: int, end_learning_rate: float = 0.0):
        check_numbers(self, RATE, initial_learning_rate=initial_learning_rate, end_learning_rate=end_learning_rate)
        check_numbers(self, STEPS, decay_steps=decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.end_learning_rate = end_learning_rate

    def __call__(self, step: int) -> float:
        t = min(step / self.decay_steps, 1.0)
        return self.initial_learning_rate * (1 - t) + self.end_learning_rate * t


class PiecewiseLinear(Schedule):
    """Straight lines between given rates at given steps, constant before the first and after the last.

    `PiecewiseLinear([0, 200, 1000], [0.2, 1.0, 0.07])` is a triangle: up for 200 steps, then down.
    Errors: ValueError for steps that do not rise, or another number of rates.
    """

    def __init__(self, steps: list[int], values: list[float]):
        if len(steps) != len(values) or any(b <= a for a, b in itertools.pairwise(steps)) or not steps:
            raise ValueError(f"PiecewiseLinear: needs rising steps and a rate for each, got {steps} and {values}")
        check_numbers(self, RATE, **{f"values[{i}]": rate for i, rate in enumerate(values)})
        self.steps, self.values = list(steps), list(values)

    def __call__(self, step: int) -> float:
        ends = list(zip(self.steps, self.values, strict=True))
        for (first, from_rate), (last, to_rate) in itertools.pairwise(ends):
            if step < last:
                return from_rate + (to_rate - from_rate) * max(0, step - first) / (last - first)
        return self.values[-1]


class CosineDecay(Schedule):
    """Half a cosine from the initial rate down to alpha times it; or first up to another rate, and down from there.

    Formula: rate(t) = initial ((1 - alpha) (1 + cos(pi t / decay_steps)) / 2 + alpha), constant after decay_steps. With
    `warmup_target`, `warmup_steps` steps in a straight line from the initial rate to the target; then the same from the target.
    Source: I. Loshchilov and F. Hutter, SGDR, arXiv 1608.03983.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, alpha: float = 0.0, warmup_target: float | None = None,
        warmup_steps: int = 0,
    ):  # fmt: skip
        check_numbers(self, RATE, initial_learning_rate=initial_learning_rate, alpha=alpha, warmup_steps=warmup_steps)
        check_numbers(self, f"{RATE} or None", warmup_target=warmup_target)
        check_numbers(self, STEPS, decay_steps=decay_steps)
        self.initial_learning_rate, self.decay_steps, self.alpha = initial_learning_rate, decay_steps, alpha
        self.warmup_target, self.warmup_steps = warmup_target, warmup_steps

    def __call__(self, step: int) -> float:
        top, before = self.initial_learning_rate, 0
        if self.warmup_target is not None:
            top, before = self.warmup_target, self.warmup_steps
            if step < before:
                return self.initial_learning_rate + (top - self.initial_learning_rate) * step / before
        return top * _half_cosine(min((step - before) / self.decay_steps, 1.0), self.alpha)


class CosineDecayRestarts(Schedule):
    """Half a cosine again and again, each longer, and perhaps lower, than the one before.

    Formula: the k-th, from 0, lasts first_decay_steps t_mul^k steps, and begins at initial m_mul^k; s being the share of it that
    is done, rate = initial ((1 - alpha) m_mul^k (1 + cos(pi s)) / 2 + alpha).
    Source: I. Loshchilov and F. Hutter, SGDR, arXiv 1608.03983.
    """

    def __init__(
        self, initial_learning_rate: float, first_decay_steps: int, t_mul: float = 2.0, m_mul: float = 1.0, alpha: float = 0.0
    ):
        check_numbers(self, RATE, initial_learning_rate=initial_learning_rate, m_mul=m_mul, alpha=alpha)
        check_numbers(self, STEPS, first_decay_steps=first_decay_steps)
        check_numbers(self, "[1, inf)", t_mul=t_mul)
        self.initial_learning_rate, self.first_decay_steps = initial_learning_rate, first_decay_steps
        self.t_mul, self.m_mul, self.alpha = t_mul, m_mul, alpha

    def __call__(self, step: int) -> float:
        done, length, height = float(step), float(self.first_decay_steps), 1.0
        while done >= length:
            done, length, height = done - length, length * self.t_mul, height * self.m_mul
        return self.initial_learning_rate * ((1 - self.alpha) * height * _half_cosine(done / length, 0.0) + self.alpha)


class ExponentialDecay(Schedule):
    """The rate falls by one factor every so many steps.

    Formula: rate(t) = initial decay_rate^(t / decay_steps), the exponent rounded down with `staircase`.
    """

    def __init__(self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False):
        check_numbers(self, RATE, initial_learning_rate=initial_learning_rate, decay_rate=decay_rate)
        check_numbers(self, STEPS, decay_steps=decay_steps)
        self.initial_learning_rate, self.decay_steps, self.decay_rate = initial_learning_rate, decay_steps, decay_rate
        self.staircase = staircase

    def __call__(self, step: int) -> float:
        power = step // self.decay_steps if self.staircase else step / self.decay_steps
        return self.initial_learning_rate * self.decay_rate**power


class InverseTimeDecay(Schedule):
    """The rate falls with time.

    Formula: rate(t) = initial / (1 + decay_rate t / decay_steps), the quotient rounded down with `staircase`.
    """

    def __init__(self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False):
        check_numbers(self, RATE, initial_learning_rate=initial_learning_rate, decay_rate=decay_rate)
        check_numbers(self, STEPS, decay_steps=decay_steps)
        self.initial_learning_rate, self.decay_steps, self.decay_rate = initial_learning_rate, decay_steps, decay_rate
        self.staircase = staircase

    def __call__(self, step: int) -> float:
        turns = step // self.decay_steps if self.staircase else step / self.decay_steps
        return self.initial_learning_rate / (1 + self.decay_rate * turns)


class PiecewiseConstantDecay(Schedule):
    """One rate up to each boundary, and another behind the last: one value more than boundaries."""

    def __init__(self, boundaries: list[int], values: list[float]):
        if len(values) != len(boundaries) + 1:
            raise ValueError(
                f"PiecewiseConstantDecay: {len(boundaries)} boundaries need {len(boundaries) + 1} values, got {len(values)}"
            )
        check_numbers(self, RATE, **{f"values[{i}]": rate for i, rate in enumerate(values)})
        check_numbers(self, RATE, **{f"boundaries[{i}]": step for i, step in enumerate(boundaries)})
        self.boundaries, self.values = list(boundaries), list(values)

    def __call__(self, step: int) -> float:
        return float(self.values[sum(step > boundary for boundary in self.boundaries)])


class PolynomialDecay(Schedule):
    """From one rate to another along a power of time.

    Formula: rate(t) = (initial - end) (1 - t / decay_steps)^power + end, constant after decay_steps; with `cycle`, the rate rises
    again there, and takes as many steps more to fall: decay_steps ceil(t / decay_steps) in the place of decay_steps.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 1e-4,
        power: float = 1.0,
        cycle: bool = False,
    ):
        check_numbers(self, RATE, initial_learning_rate=initial_learning_rate, end_learning_rate=end_learning_rate, power=power)
        check_numbers(self, STEPS, decay_steps=decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.end_learning_rate, self.power, self.cycle = end_learning_rate, power, cycle

    def __call__(self, step: int) -> float:
        steps = self.decay_steps * (max(1, math.ceil(step / self.decay_steps)) if self.cycle else 1)
        left = 1 - min(step / steps, 1.0)
        return (self.initial_learning_rate - self.end_learning_rate) * left**self.power + self.end_learning_rate


class OneCycle(Schedule):
    """Up to the largest rate and down again: warm-up, then half a cosine to almost nothing.

    Formula: cosine from max / start_factor to max in the first `rise` of the steps, then cosine to max / end_factor.
    Source: L. Smith and N. Topin, Super-convergence, arXiv 1708.07120.
    """

    def __init__(
        self, max_learning_rate: float, total_steps: int, rise: float = 0.3, start_factor: float = 25.0, end_factor: float = 1e4
    ):
        check_numbers(self, RATE, max_learning_rate=max_learning_rate)
        check_numbers(self, STEPS, total_steps=total_steps, start_factor=start_factor, end_factor=end_factor)
        check_numbers(self, "[0, 1]", rise=rise)
        self.max_learning_rate, self.total_steps, self.rise = max_learning_rate, total_steps, rise
        self.start_factor, self.end_factor = start_factor, end_factor

    def __call__(self, step: int) -> float:
        top = max(1.0, self.rise * self.total_steps)
        if step < top:
            return _cosine(self.max_learning_rate / self.start_factor, self.max_learning_rate, step / top)
        t = min((step - top) / max(1.0, self.total_steps - top), 1.0)
        return _cosine(self.max_learning_rate, self.max_learning_rate / self.end_factor, t)


class SlantedTriangular(Schedule):
    """Up in a short straight line, down in a long one.

    Formula: with T total steps, cut = rise T, p = t / cut on the way up and 1 - (t - cut) / (T - cut) on the way down:
    rate(t) = max (1 + p (ratio - 1)) / ratio.
    Source: J. Howard and S. Ruder, Universal language model fine-tuning, arXiv 1801.06146, section 3.2.
    """

    def __init__(self, max_learning_rate: float, total_steps: int, rise: float = 0.1, ratio: float = 32.0):
        check_numbers(self, RATE, max_learning_rate=max_learning_rate)
        check_numbers(self, STEPS, total_steps=total_steps, ratio=ratio)
        check_numbers(self, "[0, 1]", rise=rise)
        self.max_learning_rate, self.total_steps, self.rise, self.ratio = max_learning_rate, total_steps, rise, ratio

    def __call__(self, step: int) -> float:
        cut = max(1.0, self.rise * self.total_steps)
        p = step / cut if step < cut else 1 - min((step - cut) / max(1.0, self.total_steps - cut), 1.0)
        return self.max_learning_rate * (1 + p * (self.ratio - 1)) / self.ratio


class WarmUp(Schedule):
    """Rises in a straight line for `warmup_steps`, then follows another schedule, counted from there."""

    def __init__(self, schedule: Any, warmup_steps: int):
        check_numbers(self, STEPS, warmup_steps=warmup_steps)
        self.schedule, self.warmup_steps = get(schedule), warmup_steps

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            return rate_at(self.schedule, 0) * (step + 1) / self.warmup_steps
        return rate_at(self.schedule, step - self.warmup_steps)


def rate_at(learning_rate: Any, step: int) -> float:
    """What a number, or a schedule, gives at a step."""
    return float(learning_rate(step)) if callable(learning_rate) else float(learning_rate)


def get(identifier: Any) -> Any:
    """A schedule from its saved form; numbers and functions come back as they are."""
    return decode("schedule", identifier, CLASSES)


def _half_cosine(t: float, alpha: float) -> float:
    return (1 - alpha) * (1 + math.cos(math.pi * t)) / 2 + alpha


def _cosine(start: float, end: float, t: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * t)) / 2


CLASSES: dict[str, type] = {cls.__name__: cls for cls in Schedule.__subclasses__()}
