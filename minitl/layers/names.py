"""Names of layers: what they are by default, and what they may be."""

from __future__ import annotations

import re
from collections.abc import Container

LONGEST_NAME = 200  # characters


def default_name(cls: type) -> str:
    """The snake-case name of a class, as Keras makes it: Conv2D is conv2d, MaxPooling2D is max_pooling2d."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", getattr(cls, "named_as", cls.__name__))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def free_name(name: str, taken: Container[str]) -> str:
    """The name, or the first of name_1, name_2 ... that is not taken."""
    found, number = name, 0
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def check_name(name: str) -> None:
    """Raise ValueError for a name that could not be a key in a weight file."""
    if not isinstance(name, str) or not re.fullmatch(r"[^/\\@\s\0][^/\\@\0]*", name) or name in (".", ".."):
        raise ValueError(f"a layer's name must not be empty nor contain '/', '\\', '@' or NUL, nor be '.' or '..', got {name!r}")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"a layer's name may have {LONGEST_NAME} characters, got {len(name)}: {name[:40]!r}...")
