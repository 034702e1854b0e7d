"""Texts in HDF5 files, checked before the library follows what the file says of them.

HDF5 keeps texts in heaps: numbered parts, each with its size. An attribute refers to one by the text's length, the heap's
address and the part's number. A free part of size zero is a step of no length; a length may claim 4 GB.
Source: HDF5 File Format Specification 3.0, III.E, Level 1E, the global heap; IV.A.2.m, the attribute.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

HEAP = b"GCOL\x01\0\0\0"  # how a heap begins
TABLE_OF_SHARED = b"SMTB"  # of messages that objects share
TEXT = (0x19, 0x29, 0x39, 0x49, 0x59)  # how data types with a length of their own begin: version and class
SIZES_OF_TYPE = (16, 20, 24, 28, 32)  # bytes that describe one
SIZES_OF_REFERENCE = (10, 16)  # bytes of a reference to a data type that has a name of its own
MOST_AXES = 32  # of a data space


def check_heaps(data: Any, path: Path) -> None:
    """Refuse texts on which the library would walk on the spot for ever, or for which it would make room of any size.

    Errors: ValueError.
    """
    heaps, last = dict(_heaps(data, path)), [-1] * 16
    shared = data.find(TABLE_OF_SHARED) >= 0  # then an attribute's type and space may stand anywhere
    for place in sorted(place for address, sizes in heaps.items() for place in _too_long(data, address, sizes)):
        if shared or _is_of_an_attribute(data, place, heaps, last[place % 16]):
            length, address, number = struct.unpack_from("<IQI", data, place)
            raise ValueError(f"{path}: damaged, a text of {heaps[address][number]} bytes claims {length}; save it again")
        last[place % 16] = place  # and neither is what follows it, if nothing else comes between


def _heaps(data: Any, path: Path) -> Iterator[tuple[int, dict[int, int]]]:
    """The address of every heap, and the sizes of its parts by their numbers."""
    start = data.find(HEAP)
    while start >= 0:
        (size,) = struct.unpack_from("<Q", data, start + len(HEAP)) if start + 16 <= len(data) else (0,)
        place, end, sizes = start + 16, min(start + size, len(data)), {}
        while place + 16 <= end:
            number, length = struct.unpack_from("<H6xQ", data, place)
            if number == length == 0:
                raise ValueError(f"{path}: damaged, a heap of texts has a part of size zero; save it again")
            sizes[number] = length
            place += length if number == 0 else 16 + -(-length // 8) * 8
        yield start, sizes
        start = data.find(HEAP, start + len(HEAP))


def _too_long(data: Any, address: int, sizes: dict[int, int]) -> Iterator[int]:
    """Where something looks like a reference to a part of a heap, of more bytes than that part has."""
    packed = struct.pack("<Q", address)
    place = data.find(packed, 4)
    while 4 <= place <= len(data) - 12:
        length, number = struct.unpack_from("<I8xI", data, place - 4)
        if number and length > sizes.get(number, length):
            yield place - 4
        place = data.find(packed, place + 1)


def _is_of_an_attribute(data: Any, place: int, heaps: Container[int], after: int) -> bool:
    """Whether what looks like a reference is one: the same bytes may be a weight's, or parts of two other numbers.

    An attribute's references stand behind each other, and the first behind its data type and data space. It is not looked for
    up to `after`, where none is.
    """
    while place > max(after, 0):
        if _follows_a_type(data, place):
            return True
        place -= 16
        length, address = struct.unpack_from("<IQ", data, place) if place >= 0 else (1, 0)
        if address not in heaps and (length or address):
            return False
    return False


def _follows_a_type(data: Any, place: int) -> bool:
    """Whether a data type of texts of any length, or a reference to a data type, and a data space of version 1 or 2 end here."""
    for version, rank, has_maxima in itertools.product((1, 2), range(MOST_AXES + 1), (0, 1)):
        space = place - (8 if version == 1 else 4) - 8 * rank * (1 + has_maxima)
        if space < 24 or (data[space], data[space + 1], data[space + 2] & 1) != (version, rank, has_maxima):
            continue
        if any(data[space - size] in TEXT for size in SIZES_OF_TYPE):
            return True
        if any(data[space - size] in (1, 2, 3) and data[space - size + 1] <= 3 for size in SIZES_OF_REFERENCE):
            return True
    return False
