"""Write a layer, check its gradients, train with it.

    python examples/own_layer.py

The layer is Swish, y = x sigmoid(beta x), with one learnt beta per channel (arXiv 1710.05941). Its backward is first
written with a mistake that is easy to make, and the checker finds it.
"""

from __future__ import annotations

import numpy as np

from minitl.datasets import glyphs
from minitl.gradcheck import check_gradients
from minitl.layers import Conv2D, Dense, GlobalAveragePooling2D, Input, Layer, MaxPooling2D
from minitl.models import Sequential
from minitl.utils import set_random_seed


class Swish(Layer):
    """y = x s, s = sigmoid(beta x), beta one number per channel."""

    def build(self, input_shape):
        """Create beta."""
        self.beta = self.add_weight("beta", input_shape[-1:], "ones")

    def forward(self, x, training):
        """Keep x and s for backward."""
        self.x, self.s = x, 1 / (1 + np.exp(-self.beta * x))
        return x * self.s

    def backward(self, dy):
        """dy/dx = s + beta x s (1 - s);  dy/dbeta = x^2 s (1 - s), summed over all that shares a beta."""
        slope = self.s * (1 - self.s)
        self.gradients["beta"] = (dy * self.x**2 * slope).sum(axis=tuple(range(dy.ndim - 1)))
        return dy * (self.s + self.beta * self.x * slope)


class ForgetfulSwish(Swish):
    """The same, but backward forgets that s depends on x too."""

    def backward(self, dy):
        """Wrong."""
        super().backward(dy)
        return dy * self.s


def main(samples: int = 3000, epochs: int = 6) -> float:
    """Check both layers, train with the right one; returns its accuracy on fonts that training never saw."""
    set_random_seed(0)
    x = np.random.default_rng(0).standard_normal((4, 5, 5, 3))
    wrong, right = check_gradients(ForgetfulSwish(), x), check_gradients(Swish(), x)
    print(wrong, right, sep="\n\n")
    assert right.ok and not wrong.ok

    model = Sequential([Input((32, 32, 3))])
    for filters in (16, 32, 64):
        model.add(Conv2D(filters, 3, padding="same", kernel_initializer="he_normal"))
        model.add(Swish())
        model.add(MaxPooling2D())
    model.add(GlobalAveragePooling2D())
    model.add(Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    (x, y), (x_test, y_test) = glyphs.load_data("digits", samples, 1000)
    model.fit(x / 255, y, epochs=epochs, batch_size=32, verbose=1)
    accuracy = model.evaluate(x_test / 255, y_test)[1]
    print(f"\ndigits in unseen fonts: {100 * accuracy:.1f} % right")
    return accuracy


if __name__ == "__main__":
    main()
