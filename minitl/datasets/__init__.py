"""Data sets: CIFAR-10 and CIFAR-100, and glyphs, which need no download."""

from minitl.datasets import cifar10, cifar100, glyphs

__all__ = ["cifar10", "cifar100", "glyphs"]
