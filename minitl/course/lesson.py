"""The page that one plays with: the packaged letters network, a small engine in JavaScript, and nothing else, in one file.

`page/engine.js` computes as minitl does (tests compare outputs, gradients and ten steps of Adam), `page/page.js` is what
one sees.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from minitl.applications import load
from minitl.datasets import glyphs
from minitl.layers import Conv2D, Dense, MaxPooling2D
from minitl.weights import atomic_file

PAGE = Path(__file__).parent / "page"
EXAMPLES = "AFKMRX"


def write(path: str | Path) -> None:
    """Write the page.

    Errors: OSError from the file system.
    """
    text = html()
    with atomic_file(path) as file:
        file.write(text.encode())


def html() -> str:
    """The page's text."""
    parts = {"STYLE": "page.css", "ENGINE": "engine.js", "PAGE": "page.js"}
    text = (PAGE / "page.html").read_text()
    for mark, name in parts.items():
        text = text.replace(f"/*{mark}*/", (PAGE / name).read_text())
    return text.replace("/*DATA*/", json.dumps(data()))


def data() -> dict[str, Any]:
    """The network in half precision, the classes, and some example letters."""
    return {"layers": described(load("letters")), "classes": list(glyphs.CHARACTERS["letters"]), "examples": _examples()}


def described(model: Any) -> list[dict[str, Any]]:
    """A chain of convolutions, poolings and dense layers as the page's engine reads it.

    Errors: TypeError for another layer.
    """
    layers: list[dict[str, Any]] = []
    for layer in model.layers:
        if isinstance(layer, MaxPooling2D):
            layers.append({"kind": "pool", "name": layer.name})
        elif isinstance(layer, (Conv2D, Dense)):
            kernel, bias = (layer.parameters[name] for name in ("kernel", "bias"))
            kind = {"kind": "conv", "size": kernel.shape[0]} if isinstance(layer, Conv2D) else {"kind": "dense"}
            sizes = {"inputs": kernel.shape[-2], "outputs": kernel.shape[-1], "relu": layer.activation == "relu"}
            layers.append({**kind, "name": layer.name, **sizes, "kernel": _halves(kernel), "bias": _halves(bias)})
        elif type(layer).__name__ != "Flatten":
            raise TypeError(f"the page knows convolutions, poolings and dense layers, got {layer.label}")
    return layers


def _halves(weights: np.ndarray) -> str:
    return base64.b64encode(weights.astype("<f2").tobytes()).decode()


def _examples() -> list[dict[str, str]]:
    found = []
    for letter in EXAMPLES:
        number = glyphs.CHARACTERS["letters"].index(letter)
        random = np.random.default_rng(number)
        while True:
            x, y = glyphs.draw("letters", 60, glyphs.TEST_FONTS, random)
            rows = np.flatnonzero(y[:, 0] == number)
            if len(rows):
                pixels = base64.b64encode(x[rows[0]].astype(np.uint8).tobytes()).decode()
                found.append({"name": letter, "pixels": pixels})
                break
    return found
