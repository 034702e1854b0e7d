"""Data sets: CIFAR-10, CIFAR-100, MNIST and Fashion-MNIST from their official files, and glyphs, which need no download."""

from minitl.datasets import cifar10, cifar100, fashion_mnist, glyphs, mnist

__all__ = ["cifar10", "cifar100", "fashion_mnist", "glyphs", "mnist"]
