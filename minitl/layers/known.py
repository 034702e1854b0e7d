"""Which layers there are, by name."""

from __future__ import annotations

from minitl.layers.base import Layer


def layer_classes() -> dict[str, type[Layer]]:
    """The layers that minitl itself defines, by class name: what an architecture in a file may ask for."""
    found: dict[str, type[Layer]] = {}
    rest = list(Layer.__subclasses__())
    while rest:
        cls = rest.pop()
        rest += cls.__subclasses__()
        if is_ours(cls):
            found[cls.__name__] = cls
    return found


def is_ours(cls: type) -> bool:
    """Whether minitl itself defines a class, and not its user."""
    return cls.__module__.split(".")[0] == "minitl"


def makes_its_own(cls: type) -> bool:
    """Whether a user's `from_config` says how a layer of a class is made from its settings."""
    return not is_ours(next(base for base in cls.__mro__ if "from_config" in vars(base)))
