"""`minitl train`, `predict`, `evaluate` and `explain`."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from minitl.explain import METHODS


def add(commands: Any) -> None:
    """Add the four commands to a parser."""
    parser = commands.add_parser("train", help="train a classifier of your photographs: a folder with a folder per class")
    parser.add_argument("folder", type=Path, help="a folder per class; or train/ and val/ or test/, each with a folder per class")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.npz", help="the model that is made")
    parser.add_argument(
        "--base",
        default="EfficientNetLite0",
        metavar="NAME_OR_FILE",
        help="a network of minitl.applications (EfficientNetLite0 comes with the package), or a model of yours",
    )
    parser.add_argument("--size", type=int, default=224, help="pixels, 96 to 224: smaller is faster")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the first weights")
    parser.add_argument("--validation", type=float, default=0.2, metavar="SHARE", help="of the photographs, held out to measure")
    parser.add_argument("--tune", action="store_true", help="fine-tune the upper layers too, and keep that if it is better")
    parser.add_argument("--control", action="store_true", help="also train on raw pixels, and a network from scratch")
    parser.add_argument("--resume", action="store_true", help="go on with a fine-tuning that was interrupted")
    parser.set_defaults(run=_train)
    parser = commands.add_parser("predict", help="classes of photographs, by a model that train made")
    parser.add_argument("model", type=Path, help="the file that train wrote")
    parser.add_argument("sources", nargs="+", type=Path, metavar="FILE_OR_FOLDER", help="photographs, and folders of them")
    parser.add_argument("--format", choices=["text", "csv", "json"], default="text", help="what is printed")
    parser.set_defaults(run=_predict)
    parser = commands.add_parser("evaluate", help="how good a model is on a folder of photographs with a folder per class")
    parser.add_argument("model", type=Path, help="the file that train wrote")
    parser.add_argument("folder", type=Path, help="a folder per class")
    parser.set_defaults(run=_evaluate)
    parser = commands.add_parser("explain", help="where a model looked")
    parser.add_argument("model", type=Path, help="the file that train wrote")
    parser.add_argument("photographs", nargs="+", type=Path, help="files")
    parser.add_argument(
        "--method", nargs="+", default=["grad-cam", "smooth-grad"], choices=METHODS, metavar="NAME",
        help=f"one or more of {', '.join(METHODS)}",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("explained.png"), metavar="FILE.png", help="the figure")
    parser.set_defaults(run=_explain)


def _train(options: argparse.Namespace) -> int:
    from minitl.photographs import train

    if not 32 <= options.size <= 512:
        raise ValueError(f"--size: expected 32 to 512 pixels, got {options.size}")
    if not 0 < options.validation < 1:
        raise ValueError(f"--validation: expected a share between 0 and 1, got {options.validation}")
    train(
        options.folder, options.output, options.size, options.seed, options.validation, options.tune, options.control,
        resume=options.resume, base=options.base, say=lambda text: print(text, flush=True),
    )  # fmt: skip
    print(f"written: {options.output}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from minitl.photographs import predict

    with contextlib.redirect_stdout(sys.stderr):  # what is printed on the way is no part of a table
        made = list(predict(options.model, options.sources))
    if options.format == "json":
        print(json.dumps([p._asdict() for p in made], indent=1))
    elif options.format == "csv":
        names = next((list(p.probabilities) for p in made if p.probabilities), [])
        writer = csv.writer(sys.stdout)
        writer.writerow(["file", "class", *names])
        for p in made:
            writer.writerow(
                [p.file, p.label or "", *(f"{(p.probabilities or {}).get(name, float('nan')):.6f}" for name in names)]
            )
    else:
        for p in made:
            shown = "cannot be read" if p.probabilities is None else f"{p.label} {100 * max(p.probabilities.values()):.1f} %"
            print(f"{p.file}: {shown}")
    return 0 if all(p.label is not None for p in made) else 1


def _evaluate(options: argparse.Namespace) -> int:
    from minitl.photographs import evaluate

    found = evaluate(options.model, options.folder)
    low, high = found["interval"]
    print(f"{found['accuracy']:.1f} % of {found['photographs']} photographs (95 % interval {low:.1f} to {high:.1f})")
    print(f"calibration error {100 * found['calibration']:.1f} %: how far its probabilities are from how often it is right")
    print(f"{'class':<24}{'precision %':>13}{'recall %':>10}")
    for name in found["precision"]:
        print(f"{name:<24}{found['precision'][name]:>13.1f}{found['recall'][name]:>10.1f}")
    for file, truth, said, sure in found["mistakes"][:10]:
        print(f"{file}: {said} ({100 * sure:.0f} %), and is {truth}")
    for file in found["unreadable"]:
        print(f"{file}: cannot be read")
    return 0


def _explain(options: argparse.Namespace) -> int:
    from minitl import plot
    from minitl.photographs.images import read
    from minitl.photographs.predict import opened

    model = opened(options.model)
    images = np.stack([read(path, model.input_shape[1]) for path in options.photographs])
    x = model.preprocessing(images)
    maps = {}
    for name in options.method:
        found = METHODS[name](model, x)
        maps[name] = np.abs(found).sum(axis=-1) if found.ndim == 4 else np.maximum(found, 0)
    plot.explanation(images, maps, options.output)
    for path, p in zip(options.photographs, model.predict_on_batch(x), strict=True):
        print(f"{path}: {model.class_names[int(p.argmax())]} {100 * p.max():.1f} %")
    print(f"drawn: {options.output}")
    return 0
