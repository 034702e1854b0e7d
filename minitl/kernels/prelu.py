"""prelu: bounded by memory, or rare; the engine uses the book's."""

from minitl.ops.prelu import backward, forward

__all__ = ["backward", "forward"]
