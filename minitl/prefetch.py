"""One batch ahead: the next batches are made in a background thread while the current one is trained on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any

DEPTH = 2  # batches that wait


def prefetch(source: Iterable[Any], depth: int = DEPTH) -> Generator[Any, None, None]:
    """The same items in the same order, made ahead; when the iterator is closed or dropped, the thread has ended.

    Errors: whatever the source raises, at the item where it raised it.
    """
    waiting: queue.Queue = queue.Queue(depth)
    stop = threading.Event()

    def put(item: tuple[str, Any]) -> bool:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=0.05)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        iterator = iter(source)
        try:
            for item in iterator:
                if not put(("item", item)):
                    return
            put(("end", None))
        except BaseException as error:  # handed over to the thread that asks
            put(("error", error))
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    thread = threading.Thread(target=work, name="minitl-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stop.set()
        thread.join()
