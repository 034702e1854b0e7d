"""Data sets: CIFAR-10/100, MNIST, Fashion-MNIST, IMDB and Reuters from their official files, and glyphs, without a download."""

from minitl.datasets import cifar10, cifar100, fashion_mnist, glyphs, imdb, mnist, reuters

__all__ = ["cifar10", "cifar100", "fashion_mnist", "glyphs", "imdb", "mnist", "reuters"]
