"""What happens to data before a network sees them."""

from minitl.preprocessing.record import Preprocessing

__all__ = ["Preprocessing"]
