"""Data sets from their official files, as Keras has them, and glyphs, without a download.

Images: CIFAR-10/100, MNIST, Fashion-MNIST; texts: IMDB, Reuters; tables: Boston and California housing.
"""

from minitl.datasets import (
    boston_housing,
    california_housing,
    cifar10,
    cifar100,
    fashion_mnist,
    glyphs,
    imdb,
    mnist,
    reuters,
)

__all__ = [
    "boston_housing",
    "california_housing",
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "glyphs",
    "imdb",
    "mnist",
    "reuters",
]
