"""An exercise as the reader gets it: the solution taken out, the question left in."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

from minitl.errors import unknown

FOLDER = Path(__file__).parent / "exercises"
BEGIN, END = "    # your turn\n", "    # end\n"
GAP = '    raise NotImplementedError("your turn")\n'


def names() -> list[str]:
    """All exercises."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def template(name: str) -> str:
    """The text of an exercise with the gap where the solution was, and without the mistakes.

    Errors: ValueError for another name.
    """
    before, _, after = _parts(name)
    return before + BEGIN + GAP + after


def variant(name: str, body: str | None = None) -> ModuleType:
    """An exercise as a module: with its solution, or with other lines in their place."""
    before, solution, after = _parts(name)
    lines = solution if body is None else f"    {body.rstrip()}\n"
    return module(before + lines + after, name)


def mistakes(name: str) -> dict[str, tuple[str, str]]:
    """What is often done instead: by name, the lines and the hint."""
    for node in ast.parse(_text(name)).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "MISTAKES":
            return dict(ast.literal_eval(node.value))
    return {}


def module(text: str, name: str) -> ModuleType:
    """A module from its text.

    Errors: what running it raises.
    """
    made = ModuleType(name)
    made.__file__ = f"<{name}>"
    exec(compile(text, f"<{name}>", "exec"), vars(made))
    return made


def _text(name: str) -> str:
    if name not in names():
        raise unknown("exercise", name, names())
    return (FOLDER / f"{name}.py").read_text()


def _parts(name: str) -> tuple[str, str, str]:
    """What stands before the solution, the solution, and what stands behind it."""
    text = _text(name).partition("\n\nMISTAKES = {")[0].rstrip() + "\n"
    before, _, rest = text.partition(BEGIN)
    solution, _, after = rest.partition(END)
    return before, solution, after
