"""group_norm: bounded by memory, or rare; the engine uses the book's."""

from minitl.ops.group_norm import backward, forward

__all__ = ["backward", "forward"]
