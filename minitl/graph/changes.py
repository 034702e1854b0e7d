"""What tells that something about some layer was changed.

Whoever computed something from the attributes of layers keeps the token of that moment, and has to look at them again when there
is another one: one comparison instead of a look at every layer.

    token = changes.latest
    ...                          what depends on attributes of layers
    changes.latest is token      none has been set since
"""

from __future__ import annotations

latest = object()


def note() -> None:
    """Say that an attribute of a layer has been set."""
    global latest
    latest = object()  # not a count: two threads could take the same number
