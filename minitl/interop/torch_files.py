"""PyTorch's files without PyTorch: an unpickler that builds tensors, and nothing else.

A pickle is a program: it may name any function of any module and call it. So the names that one may ask for are listed here;
any other is refused by name. There are two formats: a zip archive (data.pkl, and a member per storage), since PyTorch 1.6, and
before that pickles one after another with the storages behind them.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minitl.interop.layouts import contiguous

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
BFLOAT16 = "bfloat16"
STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": BFLOAT16, "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "|i1", "ByteStorage": "|u1", "BoolStorage": "|b1",
}  # fmt: skip
_LATER = object()  # stands for a storage whose numbers come behind
MOST_PICKLE = 64 << 20  # bytes of the part that says what is where


class StorageKind(NamedTuple):
    """A storage class of PyTorch, by the dtype of its numbers."""

    dtype: str


def read_torch(filepath: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a `.pt`, `.pth` or `.th` file by name; a dictionary inside a checkpoint ("state_dict", "model") is found.

    Names lose a "module." that DataParallel put in front of all of them. Numbers and other entries are left out.
    Shapes: as PyTorch has them (see `layouts`); bfloat16 becomes float32.
    Errors: FileNotFoundError; ValueError for a damaged file, one without tensors, or one that asks for more than tensors.
    """
    path = Path(filepath)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}")
    try:
        found = _read_zip(path) if zipfile.is_zipfile(path) else _read_old(path)
    except _RefusedError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # damaged pickles raise almost anything
        raise ValueError(
            f"{path} is damaged or no PyTorch file ({type(error).__name__}: {error}); save it again with torch.save"
        ) from error
    return _state_dictionary(found, path)


def write_torch(filepath: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Write a state dictionary that `torch.load` reads, also with `weights_only=True`; all or nothing.

    Errors: OSError from the file system; ValueError for a dtype that PyTorch's storages do not have.
    """
    from minitl.weights import atomic_file

    body, storages = _Writer().program(arrays)
    with atomic_file(filepath) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        stem = "archive"
        for name, data in (("data.pkl", body), ("byteorder", b"little"), *storages, ("version", b"3\n")):
            member = zipfile.ZipInfo(f"{stem}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(member, data)


class _RefusedError(ValueError):
    """A pickle that asks for something that is no tensor."""


class _Unpickler(pickle.Unpickler):
    """Makes tensors from storages that `storage(key, dtype, numbers)` gives."""

    def __init__(self, file: Any, storage: Callable[[str, str, int], Any]):
        super().__init__(file, encoding="utf-8")
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle may ask for; nothing else exists here."""
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_tensor"): _tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("torch.nn.parameter", "Parameter"): lambda data, *_: data,
            ("torch", "Size"): tuple,
        }
        if module in ("torch", "torch.storage") and name in STORAGES:
            return StorageKind(STORAGES[name])
        if (module, name) not in known:
            raise _RefusedError(
                f"the file asks for {module}.{name}, which is no tensor; it is not loaded. Save the state_dict alone"
            )
        return known[module, name]

    def persistent_load(self, saved: Any) -> Any:
        """A storage."""
        kind, storage_class, key, _, numbers = saved[:5]
        if kind != "storage" or not isinstance(storage_class, StorageKind):
            raise _RefusedError(f"the file refers to a {kind!r}, which is no storage")
        return self.storage(str(key), storage_class.dtype, int(numbers))


def _unpickled(file: io.BytesIO, storage: Callable[[str, str, int], Any]) -> Any:
    """The next object of a file. Its opcodes are looked at first: one of them can ask for memory of any size."""
    start = file.tell()
    for opcode, argument, place in pickletools.genops(file):  # what claims more bytes than there are is refused here
        if (
            "PUT" in opcode.name and argument is not None and argument > (place or 0) - start
        ):  # the unpickler makes room up to there
            raise _RefusedError(f"the description of the tensors remembers object {argument}, and has not made as many")
    file.seek(start)
    return _Unpickler(file, storage).load()


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> np.ndarray:
    if storage is _LATER:
        return np.zeros(0)
    size, stride, offset = tuple(map(int, size)), tuple(map(int, stride)), int(offset)
    if not isinstance(storage, np.ndarray) or len(size) != len(stride) or min((0, offset, *size, *stride)) < 0:
        raise _RefusedError("a tensor without a storage, or with a negative size")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    count = int(np.prod([int(n) for n in size], dtype=object))
    if count and (last >= storage.size or count > storage.size):
        raise _RefusedError(f"a tensor of shape {size} claims more numbers than its storage has ({storage.size})")
    if not count:
        return np.zeros(size, storage.dtype)
    strides = tuple(s * storage.itemsize for s in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()


def _numbers(data: bytes, dtype: str, numbers: int, key: str) -> np.ndarray:
    width = 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize
    if numbers < 0 or len(data) != numbers * width:
        raise _RefusedError(f"storage {key} claims {numbers} numbers and holds {len(data)} bytes")
    if dtype == BFLOAT16:
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, dtype)


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = {member.filename: member for member in archive.infolist()}
        if sum(member.file_size for member in names.values()) > path.stat().st_size:
            raise _RefusedError("the members claim more bytes than the file has")
        programs = [name for name in names if name.endswith("/data.pkl") or name == "data.pkl"]
        if len(programs) != 1:
            raise _RefusedError("no data.pkl in the archive; TorchScript and other archives are not read")
        stem = programs[0][: -len("data.pkl")]
        order = archive.read(f"{stem}byteorder").strip() if f"{stem}byteorder" in names else b"little"
        if order != b"little":
            raise _RefusedError(f"the numbers are {order.decode(errors='replace')}-endian; little is read")
        if names[programs[0]].file_size > MOST_PICKLE:
            raise _RefusedError("the description of the tensors is too long")
        kept: dict[str, np.ndarray] = {}

        def storage(key: str, dtype: str, numbers: int) -> np.ndarray:
            if key not in kept:
                kept[key] = _numbers(archive.read(f"{stem}data/{key}"), dtype, numbers, key)
            return kept[key]

        return _unpickled(io.BytesIO(archive.read(programs[0])), storage)


def _read_old(path: Path) -> Any:
    """The format before 1.6: magic number, protocol, system, the object, the keys of its storages, and their numbers.

    Tensors are made before the numbers are there, so each storage is an array that is filled at the end: read twice.
    """
    data = path.read_bytes()
    file = io.BytesIO(data)
    nothing = lambda *_: np.zeros(0)  # noqa: E731
    if _unpickled(file, nothing) != MAGIC or _unpickled(file, nothing) != PROTOCOL:
        raise _RefusedError("no PyTorch file")
    _unpickled(file, nothing)
    start = file.tell()
    kinds: dict[str, tuple[str, int]] = {}

    def noted(key: str, dtype: str, numbers: int) -> Any:
        width = 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize
        if not 0 <= numbers * width <= len(data):
            raise _RefusedError(f"storage {key} claims {numbers} numbers, more than the file has")
        kinds[key] = dtype, numbers
        return _LATER

    _unpickled(file, noted)
    keys = _unpickled(file, nothing)
    kept: dict[str, np.ndarray] = {}
    for key in map(str, keys):
        dtype, numbers = kinds[key]
        (count,) = struct.unpack("<q", file.read(8))
        width = 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize
        if count != numbers:
            raise _RefusedError(f"storage {key} has {count} numbers, {numbers} are asked for")
        kept[key] = _numbers(file.read(count * width), dtype, count, key)
    file.seek(start)
    return _unpickled(file, lambda key, *_: kept[key])


def _state_dictionary(found: Any, path: Path) -> dict[str, np.ndarray]:
    for _ in range(3):  # a checkpoint keeps the state dictionary beside other things
        if not isinstance(found, dict):
            raise ValueError(f"{path} holds a {type(found).__name__}, no dictionary of tensors; save model.state_dict()")
        inner = [found[name] for name in ("state_dict", "model_state_dict", "model", "net") if isinstance(found.get(name), dict)]
        if not inner:
            break
        found = inner[0]
    tensors = {str(name): array for name, array in found.items() if isinstance(array, np.ndarray)}
    if not tensors:
        raise ValueError(f"{path} holds no tensors; save model.state_dict()")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): array for name, array in tensors.items()}
    return tensors


class _Writer:
    """The pickle program of a state dictionary, opcode by opcode: names of PyTorch's functions cannot be pickled without it."""

    KINDS = {np.dtype(code): name for name, code in STORAGES.items() if code != BFLOAT16}  # noqa: RUF012

    def program(self, arrays: dict[str, np.ndarray]) -> tuple[bytes, list[tuple[str, bytes]]]:
        """The bytes of data.pkl, and the storages."""
        out = io.BytesIO()
        storages = []
        out.write(b"\x80\x02ccollections\nOrderedDict\n)R(")  # an empty OrderedDict, and a mark
        for number, (name, array) in enumerate(arrays.items()):
            if array.dtype not in self.KINDS:
                raise ValueError(f"{name}: PyTorch has no storage of {array.dtype}")
            array = contiguous(array)
            storages.append((f"data/{number}", array.astype(array.dtype.newbyteorder("<")).tobytes()))
            strides = [s // array.itemsize for s in array.strides]
            out.write(self._text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((")
            out.write(self._text("storage") + f"ctorch\n{self.KINDS[array.dtype]}\n".encode())
            out.write(self._text(str(number)) + self._text("cpu") + self._whole(array.size) + b"tQ")
            out.write(self._whole(0) + self._tuple(array.shape) + self._tuple(strides))
            out.write(b"\x89ccollections\nOrderedDict\n)RtR")
        out.write(b"u.")
        return out.getvalue(), storages

    @staticmethod
    def _text(text: str) -> bytes:
        data = text.encode()
        return b"X" + struct.pack("<I", len(data)) + data

    @staticmethod
    def _whole(number: int) -> bytes:
        return b"J" + struct.pack("<i", number) if number < 2**31 else b"\x8a\x08" + struct.pack("<q", number)

    def _tuple(self, numbers: Any) -> bytes:
        return b"(" + b"".join(map(self._whole, numbers)) + b"t"
