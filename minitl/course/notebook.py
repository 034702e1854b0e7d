"""Chapters as notebooks: the text of a page, its Python blocks as cells to run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from minitl.weights import atomic_file


def write(chapter: Path, output: Path) -> None:
    """Write the notebook of a chapter; it is always made from the page, so that the two cannot differ.

    Errors: ImportError with the install line, when nbformat is not there; OSError from the file system.
    """
    try:
        from nbformat import v4, writes
    except ImportError as error:
        raise ImportError("notebooks need nbformat: pip install nbformat") from error
    cells: list[Any] = []
    for number, part in enumerate(re.split(r"```python\n(.*?)```\n?", chapter.read_text(encoding="utf-8"), flags=re.DOTALL)):
        if part.strip():
            cell = (v4.new_code_cell if number % 2 else v4.new_markdown_cell)(part.strip())
            cell["id"] = f"cell{len(cells)}"  # the same page gives the same file
            cells.append(cell)
    text = writes(v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}))
    with atomic_file(output) as file:
        file.write(text.encode())
