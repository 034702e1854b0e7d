"""Video: clips of a few frames each, from folders of frames, GIF files, and films.

    x = load_clip("wave.mp4", frames=16, target_size=(96, 96))     # (16, 96, 96, 3)
    paths, labels, names = find_clips("videos/")                    # videos/CLASS/CLIP

Films (mp4, avi, mov, mkv, webm) need the extra: pip install minitl[video]. A clip is read frame by frame, so that a long film
takes no more memory than the frames that are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minitl.preprocessing.image.files import EXTENSIONS, BadImageError, img_to_array, load_img

FILMS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")


def load_clip(
    path: Any, frames: int | None = 16, target_size: tuple[int, int] | None = None, color_mode: str = "rgb"
) -> np.ndarray:
    """Frames of a clip at equal distances, the first and the last among them; all of them for None.

    A clip of fewer frames shows some of them twice. A folder's frames are in the order of the numbers in their names.
    Shapes: target_size (height, width), the clip (frames, H, W, C) uint8.
    Errors: FileNotFoundError; ValueError with the path for a file that is no clip, a folder without frames, or frames of
    different sizes without `target_size`; ImportError with the install line for a film without the extra.
    """
    path = Path(path)
    if frames is not None and frames < 1:
        raise ValueError(f"load_clip: frames must be at least 1, got {frames}")
    if not path.exists():
        raise FileNotFoundError(f"no clip at {path}")
    total = sum(1 for _ in _images(path, count_only=True))
    if not total:
        raise ValueError(f"{path}: holds no frames ({', '.join(EXTENSIONS)})")
    wanted = np.linspace(0, total - 1, frames or total).round().astype(int)
    kept = {}
    for place, image in enumerate(_images(path)):
        if place in wanted:
            kept[place] = _prepared(image, target_size, color_mode)
    sizes = {frame.shape for frame in kept.values()}
    if len(sizes) > 1:
        raise ValueError(f"{path}: its frames have different sizes {sorted(sizes)}; give target_size=(height, width)")
    return np.stack([kept[place] for place in wanted])


def find_clips(directory: Any) -> tuple[list[Path], np.ndarray, list[str]]:
    """All clips in the classes' folders: directory/CLASS/CLIP, where a clip is a film, a GIF, or a folder of frames.

    Shapes: the paths, their labels (N,) int64, the names of the classes in alphabetical order.
    Errors: ValueError for a directory without clips.
    """
    names = sorted(one.name for one in Path(directory).iterdir() if one.is_dir() and not one.name.startswith((".", "__")))
    paths, labels = [], []
    for label, name in enumerate(names):
        for one in sorted(Path(directory, name).iterdir(), key=_natural):
            if one.is_dir() or one.suffix.lower() in (*FILMS, ".gif"):
                paths.append(one)
                labels.append(label)
    if not paths:
        raise ValueError(f"{directory}: no clips found; expected CLASS/CLIP, each a film, a GIF or a folder of frames")
    return paths, np.array(labels), names


def _images(path: Path, count_only: bool = False) -> Iterator[Any]:
    """One frame after another, as something that `_prepared` takes."""
    if path.is_dir():
        files = (one for one in path.iterdir() if one.suffix.lower() in EXTENSIONS and not one.name.startswith("."))
        yield from sorted(files, key=_natural)
    elif path.suffix.lower() in FILMS:
        yield from _film(path)
    else:
        yield from _animation(path, count_only)


def _animation(path: Path, count_only: bool) -> Iterator[Any]:
    from PIL import Image

    try:
        with Image.open(path, formats=("GIF", "WEBP", "PNG", "TIFF")) as image:
            for place in range(getattr(image, "n_frames", 1)):
                image.seek(place)
                yield None if count_only else image.convert("RGB")
    except Exception as error:  # Pillow's decoders raise many kinds
        raise BadImageError(f"{path}: cannot be read as a clip ({type(error).__name__}: {error})") from error


def _film(path: Path) -> Iterator[Any]:
    try:
        import imageio.v3 as imageio
    except ImportError as error:
        raise ImportError(f"{path}: films need imageio and PyAV: pip install minitl[video]") from error
    try:
        yield from imageio.imiter(path, plugin="pyav")
    except ImportError as error:
        raise ImportError(f"{path}: films need imageio and PyAV: pip install minitl[video]") from error
    except Exception as error:  # so do PyAV's
        raise BadImageError(f"{path}: cannot be read as a film ({type(error).__name__}: {error})") from error


def _prepared(frame: Any, target_size: tuple[int, int] | None, color_mode: str) -> np.ndarray:
    """A frame from a file, a PIL image or an array, as an array of bytes."""
    from PIL import Image

    if isinstance(frame, Path):
        return img_to_array(load_img(frame, color_mode, target_size, "box"), dtype="uint8")
    image = frame if isinstance(frame, Image.Image) else Image.fromarray(np.asarray(frame))
    image = image.convert({"rgb": "RGB", "rgba": "RGBA", "grayscale": "L"}[color_mode])
    if target_size is not None and image.size != target_size[::-1]:
        image = image.resize(target_size[::-1], Image.Resampling.BOX)
    return img_to_array(image, dtype="uint8")


def _natural(path: Path) -> list[Any]:
    """Numbers in names count as numbers: frame2 before frame10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path.name)]
