"""Libraries that only interchange needs, imported when they are used."""

from __future__ import annotations

import importlib
from typing import Any


def need(module: str) -> Any:
    """A library of the extra `interop`.

    Errors: ImportError with the line that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.split(".")[0]
        raise ImportError(f'{name} is not installed; install it with: pip install "minitl[interop]"') from error
