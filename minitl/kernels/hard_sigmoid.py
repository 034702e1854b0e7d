"""hard_sigmoid: bounded by memory, or rare; the engine uses the book's."""

from minitl.ops.hard_sigmoid import backward, forward

__all__ = ["backward", "forward"]
