"""leaky_relu: bounded by memory, or rare; the engine uses the book's."""

from minitl.ops.leaky_relu import backward, forward

__all__ = ["backward", "forward"]
