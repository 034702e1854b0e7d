"""What is in a folder of photographs, before anything is learnt from it."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minitl.preprocessing.image.files import BadImageError, load_img
from minitl.preprocessing.image.folders import find_pictures, subfolders

NEAR = 3  # bits of 64 by which fingerprints of the same image, resized or compressed anew, may differ
PARTS = {  # names of folders that hold a data set's parts, each with a folder per class
    "training": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
UNEQUAL = 3.0  # how many times the smallest class the largest may be before that is said


@dataclass
class Look:
    """What was found: files and class numbers without what is broken or there twice, and sentences about the rest.

    Of a folder that is split already, `held` are the places of the validation photographs, and `test` is the folder of those that
    nothing looks at before the end.
    """

    root: Path
    class_names: list[str]
    files: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    fingerprints: list[int] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    test: Path | None = None

    def __str__(self) -> str:
        counts = Counter(self.labels)
        lines = [f"{self.root}: {len(self.files)} photographs in {len(self.class_names)} classes"]
        lines += [f"  {name:<24}{counts[i]:>7}" for i, name in enumerate(self.class_names)]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def near(self, first: Any, second: Any) -> list[tuple[str, str]]:
        """Pairs of photographs, one of each of two lists of positions, that look alike."""
        a = np.array([self.fingerprints[i] for i in first], np.uint64)
        b = np.array([self.fingerprints[i] for i in second], np.uint64)
        found = []
        for i, mark in zip(first, a, strict=True):
            apart = np.bitwise_count(mark ^ b) if hasattr(np, "bitwise_count") else _bits(mark ^ b)
            found += [(self.files[i], self.files[second[j]]) for j in np.flatnonzero(apart <= NEAR)]
        return found


def look(folder: str | os.PathLike, minimum: int = 2) -> Look:
    """Read every photograph of a folder once: classes, counts, what is broken, what is there twice.

    A folder with `train/` and `val/` or `test/` inside (or `training/`, `valid/`, `validation/`, `testing/`) is split already:
    the classes are those of the training part.
    Errors: FileNotFoundError; ValueError for fewer than two classes, a class with fewer than `minimum` photographs, or another
    part with classes that the training part does not have.
    """
    parts = given_parts(folder) or {"training": Path(folder)}
    training = parts["training"]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        pictures = {part: find_pictures(root) for part, root in parts.items()}
    found = pictures["training"]
    report = Look(Path(folder), [name for name, files in found.items() if files])
    report.test = parts["test"] if any(pictures.get("test", {}).values()) else None
    report.notes += [str(w.message).replace("\n", " ") for w in said]
    for part, root in parts.items():
        strange = [name for name, files in pictures[part].items() if files and name not in report.class_names]
        if strange:
            raise ValueError(f"{root}: {', '.join(strange)} is no class of {training}; the same are needed")
    report.notes += [note for name in report.class_names if (note := _inside(training / name))]
    if len(report.class_names) < 2:
        inside = ", ".join(report.class_names) or "none"
        raise ValueError(f"{folder}: at least two classes are needed, a folder for each; found {inside}")
    known: dict[str, tuple[str, int]] = {}
    names = [
        (os.path.relpath(parts[part] / name, folder), number)
        for part in ("training", "validation")
        for number, label in enumerate(report.class_names)
        for name in pictures.get(part, {}).get(label, ())
    ]
    learnt = sum(map(len, found.values()))
    across = []
    with ThreadPoolExecutor(4) as pool:
        marks = pool.map(_fingerprint, [os.path.join(folder, name) for name, _ in names])
        for place, ((name, number), mark) in enumerate(zip(names, marks, strict=True)):
            if isinstance(mark, str):
                report.broken.append(name)
                continue
            digest, fingerprint = mark
            if digest in known:
                first, class_of_first = known[digest]
                report.duplicates.append((first, name))
                across += [(first, name)] if class_of_first != number else []
                continue
            known[digest] = name, number
            report.held += [len(report.files)] if place >= learnt else []
            report.files.append(name)
            report.labels.append(number)
            report.fingerprints.append(fingerprint)
    if "validation" in parts and not report.held:
        raise ValueError(
            f"{parts['validation']}: has no photograph that can be read and is no copy of one to learn; mend it, or take the "
            "folder away, and a share of the others is held out"
        )
    _note(report, minimum, across)
    return report


def given_parts(folder: str | os.PathLike) -> dict[str, Path]:
    """The parts of a folder that is split already: "training", and "validation" or "test" or both; of others, nothing."""
    root = Path(folder)
    inside = [name for name in subfolders(root) if not name.startswith("_")] if root.is_dir() else []
    parts = {part: root / name for part, names in PARTS.items() for name in inside if name.lower() in names}
    split_already = len(parts) == len(inside) > 1 and "training" in parts
    return parts if split_already and all(map(subfolders, parts.values())) else {}


def split(labels: Any, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions for training and for validation: of each class the same share, at least one, drawn by `seed`."""
    labels, generator = np.asarray(labels), np.random.default_rng(seed)
    held = []
    for number in np.unique(labels):
        own = generator.permutation(np.flatnonzero(labels == number))
        held += own[: max(1, round(share * len(own)))].tolist()
    apart = np.zeros(len(labels), bool)
    apart[held] = True
    return np.flatnonzero(~apart), np.flatnonzero(apart)


def _inside(folder: Path) -> str:
    """What to say of a class's folder that holds folders."""
    inside = subfolders(folder)
    if not inside:
        return ""
    return f"{folder} has folders inside ({', '.join(inside[:3])}), whose photographs are all of the class {folder.name!r}"


def _note(report: Look, minimum: int, across: list[tuple[str, str]]) -> None:
    held = set(report.held)
    counts = Counter(label for place, label in enumerate(report.labels) if place not in held)
    for number, name in enumerate(report.class_names):
        if counts[number] < minimum:
            raise ValueError(
                f"{report.root / name}: {counts[number]} photographs that can be read; at least {minimum} are needed"
            )
    if report.broken:
        report.notes.append(f"{len(report.broken)} files cannot be read and are left out, such as {report.broken[0]}")
    if held:
        report.notes.append(f"split already: {len(report.labels) - len(held)} photographs to learn, {len(held)} to validate")
    if report.test:
        report.notes.append(f"{report.test} is looked at once, at the end")
    if report.duplicates:
        first = report.duplicates[0]
        report.notes.append(f"{len(report.duplicates)} exact copies are left out, such as {first[1]} of {first[0]}")
    if across:
        report.notes.append(
            f"{len(across)} of them stand in two classes, such as {across[0][0]} and {across[0][1]}: which is right?"
        )
    most, least = max(counts.values()), min(counts.values())
    if most > UNEQUAL * least:
        report.notes.append(
            f"the classes differ in size, {least} to {most}: their photographs are weighted so that classes count alike"
        )


def _fingerprint(path: str) -> tuple[str, int] | str:
    """A hash of the pixels, and 64 bits of what the image looks like: is each of 8x9 grey patches lighter than the next?"""
    try:
        image = load_img(path)
    except (BadImageError, OSError) as error:
        return str(error)
    digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
    grey = np.asarray(image.convert("L").resize((9, 8), 2), np.int16)
    bits = (grey[:, 1:] > grey[:, :-1]).reshape(-1)
    return digest, int("".join("1" if bit else "0" for bit in bits), 2)


def _bits(numbers: np.ndarray) -> np.ndarray:
    return np.array([int(n).bit_count() for n in numbers])
