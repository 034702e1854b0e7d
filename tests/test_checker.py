"""What the checker says of layers that are wrong or behave badly: each mistake by its name, where it is seen."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from minitl.gradcheck import check_gradients
from minitl.gradcheck.diagnosis import _meaning
from minitl.layers import Dense, Layer

RNG = np.random.default_rng(4)
ROWS, IMAGES = RNG.standard_normal((4, 5)), RNG.standard_normal((2, 7, 7, 2))


class Twice(Layer):
    """y = 2 x, and right; those below change one thing each."""

    def forward(self, x, training):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


class ChangesX(Twice):
    def forward(self, x, training):
        x *= 2
        return x


class ForwardOnce(Twice):
    def forward(self, x, training):
        self.kept = [2.0]
        return 2 * x

    def backward(self, dy):
        return self.kept.pop() * dy


class ChangesY(Twice):
    def forward(self, x, training):
        self.y = 2 * x
        return self.y

    def backward(self, dy):
        self.y[...] = 0
        return 2 * dy


class Ages(Twice):
    def forward(self, x, training):
        self.factor = 2.0
        return 2 * x

    def backward(self, dy):
        dx = self.factor * dy
        self.factor += 1
        return dx


class HalfWithoutDx(Dense):
    def linear_backward(self, dz, cache, need):
        dx, gradients = super().linear_backward(dz, cache, need)
        return dx, gradients if need.dx else {name: g / 2 for name, g in gradients.items()}


class OrderedDx(Twice):
    def backward(self, dy):
        return 2 * dy * (1 + 1e-7 * np.arange(len(dy)))[:, None]


class OrderedWeights(Dense):
    def linear_backward(self, dz, cache, need):
        dx, gradients = super().linear_backward(dz, cache, need)
        gradients["bias"] = (dz * (1 + 1e-7 * np.arange(len(dz)))[:, None]).sum(axis=0)
        return dx, gradients


class LosesTheBatch(Twice):
    def forward(self, x, training):
        self.shape = x.shape
        return np.squeeze(2 * x)

    def backward(self, dy):
        return 2 * dy.reshape(self.shape)


class Centres(Layer):
    axes = (0,)

    def forward(self, x, training):
        return x - x.mean(axis=self.axes, keepdims=True)

    def backward(self, dy):
        return dy - dy.mean(axis=self.axes, keepdims=True)


class CentresAll(Centres):
    axes = (0, 1)


class Nothing(Twice):
    def forward(self, x, training):
        return np.log(0 * x)


BEHAVIOUR = {
    "x changed": (ChangesX(), ROWS, "forward changes x in place; write `y = x"),
    "one backward pass": (ForwardOnce(), ROWS, r"a second backward\(\) after one forward\(\) fails \(IndexError"),
    "y changed": (ChangesY(), ROWS, "backward changes y, which the next layer still holds, in place"),
    "what was kept changed": (
        Ages(),
        ROWS,
        "a second backward.. gives another gradient of x: backward changes what forward kept",
    ),
    "without dx": (
        HalfWithoutDx(3),
        ROWS,
        "with need_dx=False the gradient of half_without_dx/kernel is another one; only dx may be left out",
    ),
    "order of dx": (OrderedDx(), ROWS, "dx depends on the order of the samples in the batch"),
    "order of a weight's": (OrderedWeights(3), ROWS, "a parameter's gradient depends on the order of the samples in the batch"),
    "one sample": (LosesTheBatch(), ROWS, r"y of one sample alone has shape \(5,\), in the batch \(1, 5\)"),
    "channel by channel": (
        Centres(),
        ROWS,
        "y of a sample depends on the other samples of the batch, channel by channel; if that",
    ),
    "all together": (CentresAll(), ROWS, "y of a sample depends on the other samples of the batch; check the axes of sums"),
    "no numbers": (Nothing(), ROWS, "forward gives NaN or infinite numbers for this x; nothing can be compared"),
}
NOTES = ("one backward pass", "channel by channel")


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("name", BEHAVIOUR)
def test_behaviour(name):
    layer, x, message = BEHAVIOUR[name]
    report = check_gradients(layer, x)
    assert re.search(message, str(report)), report
    assert report.ok == (name in NOTES)


def test_a_right_layer_is_right():
    assert check_gradients(Twice(), ROWS).ok and not check_gradients(Twice(), ROWS).findings


class Squared(Layer):
    def forward(self, x, training):
        self.y = np.tanh(x)
        return self.y

    def backward(self, dy):
        return dy * (1 - self.y**2) ** 2


class TimesX(Layer):
    def forward(self, x, training):
        self.x = x
        return x + 1

    def backward(self, dy):
        return dy * self.x


class NotDy(TimesX):
    def backward(self, dy):
        return np.sin(7 * dy + self.x)


class OneEntry(Twice):
    def backward(self, dy):
        dx = 2 * dy
        dx[1, 2] += 1
        return dx


class Inside(Twice):
    def backward(self, dy):
        dx = 2 * dy
        dx[:, 2:-2, 2:-2] = RNG.standard_normal(dx[:, 2:-2, 2:-2].shape)
        return dx


class NotSummed(Dense):
    def linear_backward(self, dz, cache, need):
        dx, gradients = super().linear_backward(dz, cache, need)
        gradients["bias"] = dz
        return dx, gradients


class Scale(Layer):
    def build(self, input_shape):
        self.w = self.add_weight("w", input_shape[-1:], "ones")

    def forward(self, x, training):
        self.x = x
        return x**2 * self.parameters["w"]

    def backward(self, dy):
        self.gradients["w"] = dy * self.x**2
        return dy * 2 * self.x * self.parameters["w"]


class Turned(Dense):
    def linear_backward(self, dz, cache, need):
        dx, gradients = super().linear_backward(dz, cache, need)
        gradients["kernel"] = gradients["kernel"].T
        return dx, gradients


DIAGNOSES = {
    "a factor twice": (Squared(), ROWS, "elementwise", r"the factor 1 - y\^2 is there once too often"),
    "x for nothing": (TimesX(), ROWS, "elementwise", "the factor x is there once too often"),
    "dy itself": (NotDy(), ROWS, "elementwise", "it should be dy itself"),
    "one entry": (OneEntry(), ROWS, "somewhere", r"it is wrong at the one coordinate \[1, 2\], of 20 that were looked at"),
    "inside": (Inside(), IMAGES, "overlap", "right at the image's border and wrong inside: windows overlap there"),
    "not summed": (NotSummed(3), ROWS, "axes", "it is the sum of dy over no axis; the parameter is shared along axis 0: sum"),
    "squares not summed": (Scale(), ROWS, "axes", "the sum over axis 0 is missing: the parameter is shared along them"),
    "turned": (Turned(3), ROWS, "transposed", r"transposed: the gradient has shape \(3, 5\), its parameter \(5, 3\)"),
}


@pytest.mark.parametrize("name", DIAGNOSES)
def test_diagnoses(name):
    layer, x, kind, message = DIAGNOSES[name]
    report = check_gradients(layer, x)
    assert not report.ok
    assert [d for d in report.diagnoses if d.kind == kind and re.search(message, str(d))], report


def test_what_cannot_be_checked():
    with pytest.raises(ValueError, match=r"check_gradients: Twice is a class; check an object of it, Twice\(...\)"):
        check_gradients(Twice, ROWS)
    with pytest.raises(TypeError, match=r"forward must return the pair \(y, cache\), got ndarray"):
        check_gradients((lambda x: 2 * x, lambda dy, cache: 2 * dy), ROWS)


@pytest.mark.parametrize(("factor", "meaning"), [
    (5, "the number of samples"), (1 / 5, "1 / the number of samples"), (7, "the image's height"), (42, "the number of pixels"),
    (1 / 42, "1 / the number of pixels"), (60, "the number of output positions"), (11, "the number of output channels"),
    (1 / 660, "1 / the number of outputs"), (1.5, ""), (13, ""),
])  # fmt: skip
def test_a_factor_is_told_by_the_size_that_it_is(factor, meaning):
    case = SimpleNamespace(problem=SimpleNamespace(arrays=[np.zeros((5, 7, 6, 3))]), dy=np.zeros((5, 4, 3, 11)))
    assert _meaning(case, factor) == (f" ({meaning})" if meaning else "")
