"""Where data sets lie, and how they get there: a folder that is used as it is, an archive, or a download.

The folder is $MINITL_DATA, or the user's cache folder. Whatever is written there appears in one step, when it is whole
and its checksum is right.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pooch


def data_folder() -> Path:
    """$MINITL_DATA, or the user's cache folder."""
    return Path(os.environ.get("MINITL_DATA") or pooch.os_cache("minitl"))


def unpacked(folder: str, members: dict[str, int], archive: str, url: str, sha256: str) -> Path:
    """The path of an unpacked data set; fetched and unpacked when it is not there yet.

    Shapes: `members` maps each file of the data set to its size in bytes.
    Errors: OSError that says which file to put where; ValueError for a file of the wrong size or checksum.
    """
    target = data_folder() / folder
    if target.is_dir():
        _check(target, members)
        return target
    instead = f", or the unpacked folder {folder}, or set MINITL_DATA to where they are"
    _unpack(fetched(url, f"sha256:{sha256}", data_folder(), archive, instead), target, members)
    return target


def fetched(url: str, checksum: str | None, folder: Path, name: str, instead: str) -> Path:
    """The path of a file in a folder; downloaded there, when it is whole and its checksum ("sha256:...") is right.

    "sha256-prefix:..." is a checksum's beginning, as PyTorch's file names have it; None, where a publisher gives none, is not
    checked.
    Errors: OSError that says which file to put where, or what to do `instead`; ValueError for a wrong checksum.
    """
    prefix = checksum.removeprefix("sha256-prefix:") if checksum and checksum.startswith("sha256-prefix:") else None
    known = None if prefix is not None else checksum
    try:
        if known is None and (folder / name).is_file():
            path = folder / name  # pooch would tell the checksum
        else:
            path = Path(pooch.retrieve(url, known, fname=name, path=os.fspath(folder), progressbar=True))
        if prefix is not None and not pooch.file_hash(os.fspath(path)).startswith(prefix):
            raise ValueError(f"its SHA-256 does not begin with {prefix}")
        return path
    except ValueError as error:
        raise ValueError(
            f"{folder / name}: the checksum is wrong; delete the file, and it will be fetched again ({error})"
        ) from error
    except Exception as error:
        raise OSError(
            f"cannot fetch {url} ({type(error).__name__}); put {name} into {folder} yourself "
            + (f"({checksum.replace(':', ' ')})" if checksum else "")
            + instead
        ) from error


def unpack_beside(archive: Path) -> Path:
    """The folder beside an archive with what it holds; unpacked once, and nothing outside of that folder.

    A single folder of another name in it can be found beside it, too.

    Errors: ValueError for a file that is no archive.
    """
    stem = archive.name
    for ending in (".zip", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar"):
        stem = stem.removesuffix(ending)
    target = archive.parent / stem
    if target.exists():
        return target
    temporary = Path(tempfile.mkdtemp(prefix=f".{stem}.", dir=archive.parent))
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(temporary)  # its paths are made harmless by the library
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as packed_tar:
                packed_tar.extractall(temporary, filter="data")
        else:
            raise ValueError(f"{archive} is no zip or tar archive")
        inside = list(temporary.iterdir())
        single = len(inside) == 1 and inside[0].is_dir() and inside[0].name == stem
        os.replace(inside[0] if single else temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if not single and len(inside) == 1 and (target / inside[0].name).is_dir():
        with contextlib.suppress(OSError):  # it is there already, or this system has no links
            (archive.parent / inside[0].name).symlink_to(Path(stem) / inside[0].name)
    return target


def _unpack(archive: Path, target: Path, members: dict[str, int]) -> None:
    """Take the named files out of the archive, and nothing else."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                source = tar.extractfile(member) if member.isfile() and name in members else None
                if source is not None:
                    with source, open(temporary / name, "wb") as file:
                        shutil.copyfileobj(source, file)
        _check(temporary, members)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check(folder: Path, members: dict[str, int]) -> None:
    for name, size in members.items():
        path = folder / name
        if not path.is_file():
            raise OSError(f"{path} is missing; delete {folder}, and it will be made again")
        found = path.stat().st_size
        if found != size:
            raise ValueError(f"{path} has {found} bytes instead of {size}; delete {folder}, and it will be made again")
