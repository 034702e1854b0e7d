"""What files of Keras 1 and 2 mean by words that Keras 3 takes for something else."""

from __future__ import annotations

from typing import Any


def in_terms_of_keras_3(description: Any, version: str) -> Any:
    """A description of layers that a version of Keras wrote, in the words of Keras 3."""
    return _walked(description) if version.split(".")[0] in ("1", "2") else description


def _walked(part: Any) -> Any:
    if isinstance(part, list):
        return [_walked(entry) for entry in part]
    if not isinstance(part, dict):
        return part
    # Up to version 2 hard_sigmoid was x / 5 + 1/2, and not x / 6 + 1/2.
    steep = {key: "keras2_hard_sigmoid" for key, value in part.items() if key.endswith("activation") and value == "hard_sigmoid"}
    found = {**{key: _walked(value) for key, value in part.items()}, **steep}
    if found.get("class_name") == "GRU" and isinstance(found.get("config"), dict):  # there was one form alone at first
        found["config"].setdefault("reset_after", False)
    return found
