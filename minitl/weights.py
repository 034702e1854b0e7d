"""What a weight file is, how it is written so that nothing is lost, and how it is read so that nothing can hurt.

A file is a zip archive of .npy members (NumPy's .npz), one per weight: `conv2d/kernel.npy`. A whole model's file also
holds its architecture, as JSON in the member `model.json`, and the optimizer's memory under `@optimizer/`.

Writing goes to a temporary file in the same folder, which takes the place of the old one in one step: a full disk or a
kill leaves the old file whole. Reading never unpickles. Members must be stored, not compressed, and their headers must
agree with their size, so that nothing larger than the file itself is ever allocated.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from minitl.processes import rank

if TYPE_CHECKING:
    import zipfile  # this, json, glob and tempfile take long to import: whoever opens a file brings them

CONFIG = "model.json"
OPTIMIZER = "@optimizer/"
TRAINING = "@training/"
LONGEST_NAME = 1 << 15  # bytes; a zip archive's limit is twice that


@dataclass
class Report:
    """What a load did: the keys that were loaded, missing in the file, unexpected in it, and of another shape."""

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shape_differs: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} loaded"]
        for name, keys in (
            ("missing in the file", self.missing),
            ("unexpected in the file", self.unexpected),
            ("of another shape", self.shape_differs),
        ):
            if keys:
                parts.append(f"{len(keys)} {name} ({', '.join(keys)})")
        return "weights: " + "; ".join(parts)


class WeightFileError(ValueError):
    """A weight file that cannot be read: damaged, foreign, or not to be trusted."""


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends well; on an error the old one stays.

    A symbolic link stays one: what it points to is replaced. Temporary files that a killed process left are removed.
    Errors: OSError from the file system, FileNotFoundError when the folder is not there, ValueError for a path that is a pipe,
    a device or a folder.
    """
    import tempfile

    path = Path(os.path.realpath(path))
    check_target(path)
    if rank():  # another process of this training writes it
        yield io.BytesIO()
        return
    _remove_abandoned(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.{os.getpid()}-", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def check_target(path: str | os.PathLike) -> None:
    """Find out before the work that a file cannot be written there.

    Errors: FileNotFoundError when the folder is not there, ValueError when something else than a regular file is.
    """
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot save {path}: the folder {path.parent} does not exist; create it first")
    if path.exists() and not path.is_file():
        raise ValueError(f"cannot save {path}: it is there and is no regular file; give the path of a file")


def write(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], config: dict[str, Any] | None = None) -> None:
    """Write arrays, and a model's configuration, to a weight file; all or nothing.

    Errors: OSError from the file system; ValueError for a key that could not be read again. The previous file is then untouched.
    """
    import json
    import zipfile

    for key in arrays:
        _check_key(str(path), f"{key}.npy")
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        if config is not None:
            archive.writestr(_member(CONFIG), json.dumps(config, indent=1))
        for key, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
            archive.writestr(_member(f"{key}.npy"), buffer.getvalue())


def read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    """The arrays of a weight file, and its configuration or None.

    Errors: FileNotFoundError, or WeightFileError, which says what is wrong with the file.
    """
    import zipfile

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weight file at {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(path, archive)
    except WeightFileError:
        raise
    except Exception as error:  # a damaged file makes zipfile, json and NumPy's header parser raise almost anything
        reason = "is damaged or not a weight file" if path.stat().st_size else "is empty"
        raise WeightFileError(f"{path} {reason} ({error}); save it again") from error


def match(model: Any, arrays: Mapping[str, np.ndarray]) -> Report:
    """Compare a model's weights with a file's arrays, by name and shape; change nothing."""
    own = named_weights(model)
    report = Report()
    for key, weight in own.items():
        if key not in arrays:
            report.missing.append(key)
        elif arrays[key].shape != weight.shape:
            report.shape_differs.append(f"{key} {arrays[key].shape} for {weight.shape}")
        else:
            report.loaded.append(key)
    report.unexpected = [key for key in arrays if key not in own and not _is_given(model, key, arrays[key])]
    return report


def load_into(model: Any, arrays: Mapping[str, np.ndarray], where: str, missing_ok: bool, shapes_ok: bool) -> Report:
    """Copy arrays into a model's weights by name, after everything has been checked.

    Errors: ValueError that lists all missing, unexpected and misshaped entries which are not allowed to be; also
    when nothing at all matched. Nothing has been changed then.
    """
    report = match(model, arrays)
    wrong = (not missing_ok and (report.missing or report.unexpected)) or (not shapes_ok and report.shape_differs)
    if wrong or not report.loaded:
        reason = "does not fit this model" if report.loaded else "has nothing that fits this model"
        raise ValueError(f"{where} {reason}: {report}; strict=False loads what fits, if anything does")
    own = named_weights(model)
    for key in report.loaded:
        own[key][...] = arrays[key]
    return report


def named_weights(model: Any) -> dict[str, np.ndarray]:
    """All weights of a model or layer by their keys, `layer/parameter`."""
    return {
        f"{path}/{name}": w for path, layer in model.named_layers() for name, w in {**layer.parameters, **layer.state}.items()
    }


def _is_given(model: Any, key: str, array: np.ndarray) -> bool:
    """Whether an entry is what a layer has from its constructor, and was saved as a weight once."""
    path, _, name = key.rpartition("/")
    former = getattr(dict(model.named_layers()).get(path), "former_weights", {})
    return name in former and np.array_equal(former[name], array)


def _member(name: str) -> zipfile.ZipInfo:
    import zipfile

    # A fixed date: the same weights give the same bytes.
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))


def _read_archive(path: Path, archive: zipfile.ZipFile) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    import json
    import zipfile

    members = archive.infolist()
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise WeightFileError(f"{path}: a member stands in it twice")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise WeightFileError(f"{path}: the members claim more bytes than the file has; it must be stored, not compressed")
    arrays: dict[str, np.ndarray] = {}
    config = None
    for member in members:
        name = member.filename
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise WeightFileError(f"{path}: member {name!r} is compressed or encrypted; write it with save_weights or np.savez")
        _check_key(str(path), name)
        data = archive.read(member)
        if name == CONFIG:
            config = json.loads(data)
            if not isinstance(config, dict):
                raise WeightFileError(f"{path}: {CONFIG} does not describe a model")
        elif name.endswith(".npy"):
            arrays[name[:-4]] = _read_array(path, name, data)
        else:
            raise WeightFileError(f"{path}: member {name!r} is no weight; is this file of another program?")
    return arrays, config


def _read_array(path: Path, name: str, data: bytes) -> np.ndarray:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise WeightFileError(f"{path}: member {name!r} has an unknown .npy version {version}")
    shape, fortran, dtype = readers[version](file)
    if dtype.kind not in "fiu" or dtype.hasobject:
        raise WeightFileError(f"{path}: member {name!r} holds {dtype}, not numbers")
    rest = data[file.tell() :]
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(rest):
        raise WeightFileError(f"{path}: member {name!r} claims shape {shape} of {dtype}, but holds {len(rest)} bytes")
    array = np.frombuffer(rest, dtype)
    array = array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
    return np.array(array, dtype.newbyteorder("="), order="C")


def _check_key(path: str, name: str) -> None:
    """Raise WeightFileError for a member that could lie outside its folder when unpacked, or that a zip archive cannot name."""
    strange = name.startswith("/") or "\\" in name or "\0" in name or {".", ".."} & set(name.split("/"))
    if strange or len(name.encode(errors="surrogateescape")) >= LONGEST_NAME:
        shown = name if len(name) < 80 else f"{name[:77]}..."
        raise WeightFileError(f"{path}: {shown!r} is not a weight's name; rename the layer")


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files for this path whose process has ended."""
    import glob

    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        owner = part.name[len(path.name) + 2 :].partition("-")[0]
        if owner.isdecimal() and not _runs(int(owner)):
            part.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    if os.name == "nt":  # there, os.kill ends a process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
