"""Where weights start.

Signals should keep their variance on the way through the layers. A sum of n terms has n times the variance of one, so
weights are drawn with a variance of scale / n: n the number of inputs (fan_in), or the mean of inputs and outputs.

    Lecun  1 / fan_in          Glorot  2 / (fan_in + fan_out)          He  2 / fan_in, since ReLU halves the variance

Source: LeCun et al. 1998; X. Glorot and Y. Bengio 2010; K. He et al., arXiv 1502.01852.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.errors import check_numbers, unknown
from minitl.functions import is_function
from minitl.random import new_generator
from minitl.serialization import Configured, lookup

Shape = tuple[int, ...]

FINITE = "(-inf, inf)"


class Initializer(Configured):
    """Draws the first values of a weight: call it with a shape and a generator, get float64; without a generator float32.

    Parameters: one with a `seed` draws the same numbers at every call, whatever the generator; a `dtype` may be given.
    One of your own defines `__call__(shape, generator)`, or as in Keras `__call__(shape, dtype=None)`.
    """

    kind = "initializer"
    seed: Any = None

    def __call__(self, shape: Shape, generator: Any = None, dtype: Any = None) -> np.ndarray:
        if not isinstance(generator, np.random.Generator):  # Keras has a dtype in its place
            generator, dtype = new_generator(), dtype or generator or np.float32
        if self.seed is not None:
            generator = np.random.default_rng(self.seed.next() if hasattr(self.seed, "next") else self.seed)
        values = self._draw(tuple(shape), generator)
        return values if dtype is None else values.astype(dtype)

    def _draw(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape, generator)")


class Constant(Initializer):
    """The same value everywhere."""

    def __init__(self, value: Any = 0.0):
        if np.asarray(value).dtype.kind not in "biuf" or not np.isfinite(value).all():
            raise ValueError(f"Constant: value must be a number or an array, got {value!r}")
        self.value = value

    def _draw(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        return np.full(shape, self.value)


class Zeros(Initializer):
    """Zeros."""

    def _draw(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        return np.zeros(shape)


class Ones(Initializer):
    """Ones."""

    def _draw(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        return np.ones(shape)


class RandomNormal(Initializer):
    """A normal distribution."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None):
        check_numbers(self, FINITE, mean=mean)
        check_numbers(self, "[0, inf)", stddev=stddev)
        self.mean, self.stddev, self.seed = mean, stddev, _checked(self, seed)

    def _draw(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        return generator.normal(self.mean, self.stddev, shape)


class RandomUniform(Initializer):
    """A uniform distribution."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None):
        check_numbers(self, FINITE, minval=minval, maxval=maxval)
        self.minval, self.maxval, self.seed = minval, maxval, _checked(self, seed)

    def _draw(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        return generator.uniform(self.minval, self.maxval, shape)


class VarianceScaling(Initializer):
    """A distribution of mean 0 and variance scale / n, n chosen by `mode`: fan_in, fan_out or fan_avg.

    Formula: "uniform" in +-sqrt(3 scale / n), "untruncated_normal", or "truncated_normal", cut off at two standard deviations.
    Errors: ValueError for an unknown mode or distribution, or a scale that is not positive.
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal", seed: Any = None):
        distribution = {"normal": "truncated_normal"}.get(distribution, distribution)  # Keras's older name
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise unknown("mode", mode, ("fan_in", "fan_out", "fan_avg"))
        if distribution not in ("uniform", "truncated_normal", "untruncated_normal"):
            raise unknown("distribution", distribution, ("uniform", "truncated_normal", "untruncated_normal"))
        check_numbers(self, "(0, inf)", scale=scale)
        self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, _checked(self, seed)

    def _draw(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        fan_in, fan_out = fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            return generator.uniform(-math.sqrt(3 * variance), math.sqrt(3 * variance), shape)
        if self.distribution == "untruncated_normal":
            return generator.standard_normal(shape) * math.sqrt(variance)
        deviation = 0.87962566103423978  # of a normal cut off at two
        return TruncatedNormal(0.0, 1.0)._draw(shape, generator) * (math.sqrt(variance) / deviation)


class GlorotUniform(VarianceScaling):
    """Uniform, variance 2 / (fan_in + fan_out)."""

    def __init__(self, seed: Any = None):
        super().__init__(1.0, "fan_avg", "uniform", seed)


class GlorotNormal(VarianceScaling):
    """Cut normal, variance 2 / (fan_in + fan_out)."""

    def __init__(self, seed: Any = None):
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


class HeUniform(VarianceScaling):
    """Uniform, variance 2 / fan_in."""

    def __init__(self, seed: Any = None):
        super().__init__(2.0, "fan_in", "uniform", seed)


class HeNormal(VarianceScaling):
    """Cut normal, variance 2 / fan_in."""

    def __init__(self, seed: Any = None):
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


class LecunUniform(VarianceScaling):
    """Uniform, variance 1 / fan_in."""

    def __init__(self, seed: Any = None):
        super().__init__(1.0, "fan_in", "uniform", seed)


class LecunNormal(VarianceScaling):
    """Cut normal, variance 1 / fan_in."""

    def __init__(self, seed: Any = None):
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


class TruncatedNormal(Initializer):
    """Normal, redrawn where it is further than two deviations from the mean."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None):
        check_numbers(self, FINITE, mean=mean)
        check_numbers(self, "[0, inf)", stddev=stddev)
        self.mean, self.stddev, self.seed = mean, stddev, _checked(self, seed)

    def _draw(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        x = generator.standard_normal(shape)
        while (far := np.abs(x) > 2).any():
            x[far] = generator.standard_normal(int(far.sum()))
        return self.mean + self.stddev * x


class Orthogonal(Initializer):
    """Columns, or rows, of length `gain` that stand at right angles: Q of a random normal matrix.

    Source: A. Saxe, J. McClelland and S. Ganguli, arXiv 1312.6120.
    """

    def __init__(self, gain: float = 1.0, seed: Any = None):
        check_numbers(self, FINITE, gain=gain)
        self.gain, self.seed = gain, _checked(self, seed)

    def _draw(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diag(r))
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


class Identity(Initializer):
    """`gain` on the diagonal of a matrix."""

    def __init__(self, gain: float = 1.0):
        check_numbers(self, FINITE, gain=gain)
        self.gain = gain

    def _draw(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        return self.gain * np.eye(shape[0], shape[1])


class Dirac(Initializer):
    """A convolution that begins as the identity: filter i has a 1 for channel i in the middle of its window, `gain` times.

    Filters beyond the channels are drawn as by `rest`. Signals and gradients pass from the first step on.
    Source: S. Zagoruyko and N. Komodakis, DiracNets, arXiv 1706.00388; K. Jordan, arXiv 2404.00498.
    """

    def __init__(self, gain: float = 1.0, rest: Any = "torch_uniform"):
        check_numbers(self, FINITE, gain=gain)
        self.gain, self.rest = gain, get(rest)

    def _draw(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        kernel = self.rest(shape, generator)
        same = min(shape[-2:])
        kernel[..., :same] = 0
        middle = tuple((n - 1) // 2 for n in shape[:-2])
        kernel[middle][range(same), range(same)] = self.gain
        return kernel


class TorchUniform(VarianceScaling):
    """Uniform in +-1 / sqrt(fan_in), variance 1 / (3 fan_in): PyTorch's default for convolutions and dense layers."""

    def __init__(self, seed: Any = None):
        super().__init__(1 / 3, "fan_in", "uniform", seed)


def __getattr__(name: str) -> Any:
    # `he_normal()`: the names of Keras's functions are those of its strings.
    if name in NAMED:
        return NAMED[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


NAMED: dict[str, type[Initializer]] = {
    "dirac": Dirac,
    "torch_uniform": TorchUniform,
    "zeros": Zeros,
    "zero": Zeros,
    "one": Ones,
    "truncated_normal": TruncatedNormal,
    "orthogonal": Orthogonal,
    "identity": Identity,
    "ones": Ones,
    "constant": Constant,
    "random_normal": RandomNormal,
    "random_uniform": RandomUniform,
    "uniform": RandomUniform,
    "normal": RandomNormal,
    "variance_scaling": VarianceScaling,
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "lecun_uniform": LecunUniform,
    "lecun_normal": LecunNormal,
}


def get(identifier: Any) -> Callable[[Shape, np.random.Generator], np.ndarray]:
    """The initializer of a name ("he_normal"), the object itself, or one that gives an array.

    Errors: ValueError for an unknown name, TypeError for what cannot be called.
    """
    if isinstance(identifier, np.ndarray):
        return Constant(identifier)
    found = lookup("initializer", identifier, {**NAMED, "owninitializer": OwnInitializer})
    if not callable(found):
        raise TypeError(f"an initializer must be a name or a function of a shape and a generator, got {found!r}")
    own = is_function(found) and not hasattr(found, "get_config")
    return OwnInitializer(found) if own and not _takes_a_generator(found) else found


def drawn(initializer: Any, shape: Shape, generator: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """What an initializer makes of a shape: one of minitl's, or one of a program's own, which may take what Keras gives it."""
    if isinstance(initializer, OwnInitializer):
        initializer = initializer.function
    if type(initializer).__call__ is Initializer.__call__ or _takes_a_generator(initializer):
        return np.asarray(initializer(shape, generator))
    given = list(inspect.signature(initializer).parameters.values())[1:]
    settings = dict.fromkeys(p.name for p in given if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    if any(p.name == "dtype" for p in given):
        settings["dtype"] = np.dtype(dtype).name
    return np.asarray(initializer(shape, **settings))


class OwnInitializer(Initializer):
    """A function of your own of a shape, and perhaps a dtype or a name, as Keras's programs have it."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function

    def _draw(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        return drawn(self.function, shape, generator)


def _takes_a_generator(function: Callable[..., Any]) -> bool:
    parameters = list(inspect.signature(function).parameters.values())
    by_place = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(by_place) > 1 and by_place[1] not in ("dtype", "name", "dim_ordering", "scale")


def _checked(initializer: Initializer, seed: Any) -> Any:
    if seed is None or hasattr(seed, "next") or (isinstance(seed, (int, np.integer)) and seed >= 0):
        return seed
    raise ValueError(f"{type(initializer).__name__}: seed must be a whole number of at least 0, or None, got {seed!r}")


def fans(shape: Shape) -> tuple[float, float]:
    """How many inputs reach an output, and the reverse: (in, out), or (K_h, K_w, in, out) times the window."""
    if len(shape) < 2:
        return float(math.prod(shape)), float(math.prod(shape))
    window = math.prod(shape[:-2])
    return float(window * shape[-2]), float(window * shape[-1])
