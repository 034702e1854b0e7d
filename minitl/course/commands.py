"""The course's commands: `minitl exercise NAME`, `grade FILE`, `ladder`, `lesson`, `notebook CHAPTER`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Put them among minitl's commands."""
    parser = commands.add_parser("exercise", help="write an exercise's file, with a gap for your lines")
    parser.add_argument("name", nargs="?", help="without it: the list of exercises")
    parser.add_argument("--output", type=Path, metavar="FILE.py", help="where it goes (default: NAME.py)")
    parser.set_defaults(run=_exercise)
    parser = commands.add_parser("grade", help="grade an exercise: right, or which mistake it is")
    parser.add_argument("file", type=Path, help="an exercise with your lines")
    parser.set_defaults(run=_grade)
    parser = commands.add_parser("ladder", help="one convolution from seven loops to the engine, as shares of the peak")
    parser.add_argument("--rounds", type=int, default=5, help="of which the fastest counts")
    parser.set_defaults(run=_ladder)
    parser = commands.add_parser("lesson", help="write the page that one plays with: one file, no network")
    parser.add_argument("--output", type=Path, default=Path("lesson.html"), metavar="FILE.html", help="the page")
    parser.set_defaults(run=_lesson)
    parser = commands.add_parser("notebook", help="write a chapter of the course as a notebook")
    parser.add_argument("chapter", type=Path, metavar="CHAPTER.md", help="a file of docs/course")
    parser.add_argument("--output", type=Path, metavar="FILE.ipynb", help="where it goes (default: CHAPTER.ipynb, here)")
    parser.set_defaults(run=_notebook)


def _exercise(options: argparse.Namespace) -> int:
    from minitl.course import exercise
    from minitl.weights import atomic_file

    if options.name is None:
        for name in exercise.names():
            print(f"{name:<16}{exercise.template(name).splitlines()[0].strip(chr(34)).removeprefix('Exercise: ')}")
        return 0
    target = options.output or Path(f"{options.name}.py")
    text = exercise.template(options.name)
    if target.exists():
        raise ValueError(f"{target} is there already; give another name with --output, or remove it")
    with atomic_file(target) as file:
        file.write(text.encode())
    print(f"{target} is written; fill the gap, and then: python -m minitl grade {target}")
    return 0


def _grade(options: argparse.Namespace) -> int:
    from minitl.course.grade import grade

    found = grade(options.file)
    print(found.text if found.right or found.mistake in ("empty", "raises") else f"Not right. {found.text}")
    return 0 if found.right else 1


def _ladder(options: argparse.Namespace) -> int:
    from minitl.course.ladder import climb

    found = climb(options.rounds)
    peak = found[-1][1]
    print("a 3x3 convolution, 32 to 64 channels, 16 images of 32x32, float32\n")
    for name, rate, gained in found:
        print(f"{name:<24}{rate:>8.1f} GFLOP/s{100 * rate / peak:>7.1f} %   {gained}")
    return 0


def _lesson(options: argparse.Namespace) -> int:
    from minitl.course.lesson import write

    write(options.output)
    print(f"{options.output.resolve()} is written; open it in a browser")
    return 0


def _notebook(options: argparse.Namespace) -> int:
    from minitl.course.notebook import write

    output = options.output or Path(options.chapter.with_suffix(".ipynb").name)
    write(options.chapter, output)
    print(f"{output} is written; open it with Jupyter")
    return 0
