"""Flatten is a change of shape: there is nothing to compute, so the engine uses the book's."""

from minitl.ops.flatten import backward, forward

__all__ = ["backward", "forward"]
