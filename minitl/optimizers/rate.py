"""A learning rate that other programs treat as a variable."""

from __future__ import annotations

from typing import Any


class Rate(float):
    """A learning rate: a number that other programs read and set as a variable (`.numpy()`, `.assign(...)`, `K.set_value`)."""

    owner: Any

    def __new__(cls, value: float, owner: Any) -> Rate:
        """The number, and whose rate it is."""
        rate = super().__new__(cls, value)
        rate.owner = owner
        return rate

    def numpy(self) -> float:
        """The plain number."""
        return float(self)

    @property
    def value(self) -> float:
        """The same, as a variable of Keras has it."""
        return float(self)

    def assign(self, value: float) -> None:
        """Change the optimizer's rate."""
        self.owner.learning_rate = float(value)

    def __reduce__(self) -> Any:
        return float, (float(self),)
