"""minitl's commands: `minitl train`, `predict`, `gradcheck`, ...; or `python -m minitl ...`."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minitl import __version__
from minitl.course import commands as course
from minitl.errors import unknown
from minitl.photographs import commands as photographs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 1 when it found something wrong, 2 when it could not be run, 141 when nobody reads on."""
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it once more at its end
        return 128 + signal.SIGPIPE


def _run(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="minitl", description="Commands of minitl; `minitl COMMAND --help` says more.")
    parser.add_argument("--version", action="version", version=f"minitl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Described)
    _add_gradcheck(commands)
    _add_pretrain(commands)
    _add_data(commands)
    photographs.add(commands)
    course.add(commands)
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        return options.run(options)
    except BrokenPipeError:
        raise
    except (ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


class _Described(argparse.ArgumentParser):
    def __init__(self, **settings: Any):
        super().__init__(**settings, formatter_class=_WithDefaults)


class _WithDefaults(argparse.HelpFormatter):
    """Help that says what holds where an option is left out."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if not action.option_strings or default is None or default is False or default == argparse.SUPPRESS:
            return action.help
        return f"{action.help} (default: {' '.join(default) if isinstance(default, list) else default})"


def _add_gradcheck(commands: Any) -> None:
    parser = commands.add_parser("gradcheck", help="check the gradients of every operation and layer, or of your own layer")
    parser.add_argument("layer", nargs="?", metavar="FILE.py:CLASS", help="your own layer; without it, all of minitl is checked")
    parser.add_argument("--input", metavar="N,H,W,C", help="the shape of your layer's input, batch first")
    parser.add_argument("--config", default="{}", metavar="JSON", help="your layer's constructor arguments: '{\"units\": 3}'")
    parser.add_argument("--op", metavar="NAME", help="one operation, layer or loss alone")
    parser.add_argument(
        "--backend", choices=["numpy", "numba"], help="one backend alone (default: both; of your own layer, numba)"
    )
    parser.add_argument("--float32", action="store_true", help="gradients in float32, against differences in float64")
    parser.add_argument("--plot", metavar="FILE.png", help="your own layer: also draw the comparison")
    parser.set_defaults(run=_gradcheck)


def _gradcheck(options: argparse.Namespace) -> int:
    if options.layer:
        return _gradcheck_own(options)
    from minitl.gradcheck import survey

    if options.op and options.op.lower() not in map(str.lower, survey.names()):
        raise unknown("operation, layer or loss", options.op, survey.names())
    backends = (options.backend,) if options.backend else ("numpy", "numba")
    print(f"  {'configuration':<34}{'house':<6}{'worst':>8}{'doubt':>8}{'checked':>8}{'skipped':>8}")
    wrong = total = 0
    before = None
    for row in survey.survey(options.op, backends, np.float32 if options.float32 else np.float64):
        name, configuration, backend, worst, doubt, checked, skipped, verdict = row
        if name != before:
            print(name)
            before = name
        print(f"  {configuration:<34}{backend:<6}{worst:>8}{doubt:>8}{checked:>8}{skipped:>8} {verdict}", flush=True)
        total, wrong = total + 1, wrong + (verdict != "right")
    print(f"{total} configurations, {wrong} wrong")
    return 1 if wrong else 0


def _gradcheck_own(options: argparse.Namespace) -> int:
    from minitl import use_backend
    from minitl.gradcheck import check_gradients

    path, _, name = options.layer.rpartition(":")
    if not path or not options.input:
        raise ValueError("to check your own layer: python -m minitl gradcheck path/to/file.py:MyLayer --input 4,8,8,3")
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        classes = [n for n, value in vars(module).items() if isinstance(value, type)]
        raise unknown(f"class in {path}", name, classes)
    shape = _shape(options.input)
    x = np.random.default_rng(1).standard_normal(shape)
    layer = getattr(module, name)(**_settings(options.config))
    with use_backend(options.backend or "numba"):
        report = check_gradients(layer, x, dtype=np.float32 if options.float32 else np.float64)
    print(report)
    if options.plot:
        from minitl import plot

        plot.gradients(report, layer, x, path=options.plot)
    return 0 if report.ok else 1


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(n) for n in text.split(","))
    except ValueError:
        shape = (0,)
    if min(shape) < 1:
        raise ValueError(f"--input: expected whole numbers with commas between them, such as 4,8,8,3, got {text!r}")
    return shape


def _settings(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--config: is no JSON ({error}); write it as '{{\"units\": 3}}', in single quotes") from error
    if not isinstance(found, dict):
        raise ValueError(f"--config: expected names and values, such as '{{\"units\": 3}}', got {text}")
    return found


def _add_pretrain(commands: Any) -> None:
    parser = commands.add_parser("pretrain", help="make a pretrained network, with its model card")
    parser.add_argument("name", metavar="NAME", help="letters (no download), cifar10, cifar100 or cifar100_small")
    parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the two files go")
    parser.add_argument("--epochs", type=int, help="passes over the training pictures (default: as published, 10 to 100)")
    parser.add_argument("--samples", type=int, help="use a part of the training pictures (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights and the order of the pictures")
    parser.set_defaults(run=_pretrain)


def _pretrain(options: argparse.Namespace) -> int:
    from minitl.applications.pretrain import pretrain

    pretrain(options.name, options.output, options.epochs, options.seed, options.samples)
    print(f"written: {options.output / options.name}.npz and .md")
    return 0


def _add_data(commands: Any) -> None:
    parser = commands.add_parser("data", help="which data sets are there, where, and how large")
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="also count the pictures of folders of your own")
    parser.set_defaults(run=_data)


def _data(options: argparse.Namespace) -> int:
    from minitl import datasets
    from minitl.datasets.download import data_folder
    from minitl.preprocessing.image.folders import find_pictures

    root = data_folder()
    print(f"data folder: {root}" + ("" if root.is_dir() else " (not made yet)"))
    print(f"{'glyphs':<16}drawn at run time from matplotlib's fonts")
    for module in (datasets.cifar10, datasets.cifar100, datasets.mnist, datasets.fashion_mnist):
        name, path = module.__name__.rpartition(".")[2], root / module.FOLDER
        files = [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else []
        size = sum(f.stat().st_size for f in files)
        there = f"{path}  {len(files)} files, {size / 1e6:.1f} MB"
        print(f"{name:<16}" + (there if files else "not there; fetched at the first load_data()"))
    for folder in options.folders:
        found = find_pictures(folder)
        print(f"{folder}: {sum(map(len, found.values()))} pictures in {len(found)} classes")
        for name, pictures in found.items():
            print(f"  {name:<20}{len(pictures):>8}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
