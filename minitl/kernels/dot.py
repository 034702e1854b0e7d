"""dot: bounded by memory, or rare; the engine uses the book's."""

from minitl.ops.dot import backward, forward

__all__ = ["backward", "forward"]
