"""upsample2d: bounded by memory, or rare; the engine uses the book's."""

from minitl.ops.upsample2d import backward, forward

__all__ = ["backward", "forward"]
