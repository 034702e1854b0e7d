"""What programs expect of `model_to_dot`: a graph object that can be made a picture of. Here it is `minitl.plot.model`'s."""

from __future__ import annotations

import importlib
import io
import os
from typing import Any


class Drawing:
    """A drawn model, with the methods of pydot's graphs that programs use."""

    def __init__(self, model: Any):
        self.figure = importlib.import_module("minitl.plot").model(model)

    def create(self, prog: Any = None, format: str = "svg") -> bytes:
        """The picture's bytes; `prog` named a program that is not needed here."""
        target = io.BytesIO()
        self.figure.savefig(target, format=format)
        return target.getvalue()

    def create_svg(self, prog: Any = None) -> bytes:
        """The bytes of an SVG picture."""
        return self.create(format="svg")

    def create_png(self, prog: Any = None) -> bytes:
        """The bytes of a PNG picture."""
        return self.create(format="png")

    def write_png(self, path: str | os.PathLike, prog: Any = None) -> None:
        """Write a PNG file."""
        importlib.import_module("minitl.plot").save(self.figure, path)

    write = write_png


def model_to_dot(model: Any, *_: Any, **__: Any) -> Drawing:
    """A drawing of a model; how it looks is `minitl.plot.model`'s affair."""
    return Drawing(model)
