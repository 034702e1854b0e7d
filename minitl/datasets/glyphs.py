"""Glyphs: images of letters and digits, drawn at run time from the fonts that matplotlib carries.

Each image is one character of one font, turned, sheared, stretched and shifted a little by one affine warp, lighter
than a background with a gradient, with texture, blur, noise and now and then a piece of a neighbour. Training and test
use different fonts, so that a good test result means the character and not the image was learnt.
The same seed gives the same images for one version of matplotlib, whose drawing differs slightly between versions.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from minitl.errors import unknown

CHARACTERS = {
    "letters": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "lowercase": "abcdefghijklmnopqrstuvwxyz",
    "digits": "0123456789",
}
TRAIN_FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("cmr10", "cmb10"),
)
TEST_FONTS = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta", "cmss10", "cmtt10")
FONTS = {"train": TRAIN_FONTS, "test": TEST_FONTS}

CELL = 64  # the side of a drawn character, in pixels
EM = 40.0  # the font size at which it is drawn
SIZE = 32  # the side of an image

Arrays = tuple[np.ndarray, np.ndarray]


def load_data(kind: str = "letters", samples: int = 6000, test_samples: int = 2000, seed: int = 0) -> tuple[Arrays, Arrays]:
    """((x, y), (x_test, y_test)): images in the training fonts, and images in fonts that training never sees.

    Shapes: x (N, 32, 32, 3) uint8, y (N, 1) uint8, the position in CHARACTERS[kind]; classes come equally often.
    Errors: ValueError for an unknown kind.
    """
    train_seed, test_seed = np.random.SeedSequence(seed).spawn(2)
    return (
        draw(kind, samples, TRAIN_FONTS, np.random.default_rng(train_seed)),
        draw(kind, test_samples, TEST_FONTS, np.random.default_rng(test_seed)),
    )


def draw(kind: str, samples: int, fonts: tuple[str, ...], generator: np.random.Generator) -> Arrays:
    """Some images of one kind in the given fonts, in random order.

    Shapes: (samples, 32, 32, 3) uint8 and (samples, 1) uint8.
    Errors: ValueError for an unknown kind or font.
    """
    if kind not in CHARACTERS:
        raise unknown("kind of glyphs", kind, CHARACTERS)
    characters = CHARACTERS[kind]
    atlas = np.stack([_font_atlas(font, characters) for font in fonts]).reshape(-1, CELL, CELL)
    labels = generator.permutation(np.arange(samples) % len(characters))
    cells = generator.integers(len(fonts), size=samples) * len(characters) + labels
    neighbours = generator.integers(len(atlas), size=samples)
    pictures = np.empty((samples, SIZE, SIZE, 3), np.uint8)
    for start in range(0, samples, 500):
        part = slice(start, start + 500)
        pictures[part] = _paint(_warp(atlas, cells[part], neighbours[part], generator), generator)
    return pictures, labels.astype(np.uint8)[:, None]


@functools.cache
def _font_atlas(font: str, characters: str) -> np.ndarray:
    """Every character of a font, centred in a cell: (characters, 64, 64) float32 in 0 .. 1."""
    import matplotlib
    from matplotlib import ft2font

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    if not path.is_file():
        raise unknown("font", font, [name for group in FONTS.values() for name in group])
    face = ft2font.FT2Font(str(path))
    flags: Any = ft2font
    unhinted = flags.LoadFlags.NO_HINTING if hasattr(flags, "LoadFlags") else flags.LOAD_NO_HINTING  # before 3.10
    face.set_size(EM, 72)
    cells = np.zeros((len(characters), CELL, CELL), np.float32)
    for cell, character in zip(cells, characters, strict=True):
        face.set_text(character, 0.0, flags=unhinted)
        face.draw_glyphs_to_bitmap(antialiased=True)
        ink = np.asarray(face.get_image(), np.float32) / 255
        ink = ink[np.ix_(ink.any(axis=1), ink.any(axis=0))][:CELL, :CELL]
        top, left = (CELL - ink.shape[0]) // 2, (CELL - ink.shape[1]) // 2
        cell[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return cells


def _warp(atlas: np.ndarray, cells: np.ndarray, neighbours: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The characters in their places: (N, 32, 32) ink in 0 .. 1, one affine map each."""
    n = len(cells)

    def uniform(limit: float) -> np.ndarray:
        return generator.uniform(-limit, limit, n)

    zoom = EM / generator.uniform(24, 34, n)  # atlas pixels per pixel of the image
    angle, shear, aspect = uniform(np.pi / 15), uniform(0.15), np.exp(uniform(0.12))
    shift = np.stack([uniform(3), uniform(3)], axis=1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    slant = np.zeros((n, 2, 2))
    slant[:, 0, 0], slant[:, 1, 1], slant[:, 1, 0] = aspect, 1 / aspect, shear
    matrix = (turn @ slant) * zoom[:, None, None]

    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij"), axis=-1) - (SIZE - 1) / 2
    places = np.einsum("nab,ijb->nija", matrix, grid) - np.einsum("nab,nb->na", matrix, shift)[:, None, None]
    ink = _sample(atlas, cells, places + (CELL - 1) / 2)
    # In three of ten images a neighbour looks in from the left or the right.
    side = generator.choice([-1.0, 1.0], n) * generator.uniform(0.75, 0.95, n) * EM
    places[..., 1] += side[:, None, None]
    beside = _sample(atlas, neighbours, places + (CELL - 1) / 2)
    beside *= (generator.random(n) < 0.3)[:, None, None]
    return np.maximum(ink, beside)


def _sample(atlas: np.ndarray, cells: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Bilinear: the ink of each image's cell at fractional places (N, 32, 32, 2); none outside the cell."""
    corner = np.floor(places).astype(np.int64)
    part = (places - corner).astype(np.float32)
    total = np.zeros(places.shape[:3], np.float32)
    for down in (0, 1):
        for right in (0, 1):
            row, column = corner[..., 0] + down, corner[..., 1] + right
            inside = (row >= 0) & (row < CELL) & (column >= 0) & (column < CELL)
            weight = np.abs(1 - down - part[..., 0]) * np.abs(1 - right - part[..., 1]) * inside
            total += weight * atlas[cells[:, None, None], row.clip(0, CELL - 1), column.clip(0, CELL - 1)]
    return total


def _paint(ink: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Colours, background, texture, blur and noise: (N, 32, 32) ink to (N, 32, 32, 3) uint8."""
    n = len(ink)
    luminance = np.array([0.299, 0.587, 0.114])
    back, front = generator.uniform(0, 0.5, (n, 3)), generator.uniform(0.3, 1, (n, 3))
    # The glyph is lighter by at least 0.4: what is missing is added to it, or taken from the background.
    missing = np.maximum(0.4 - (front - back) @ luminance, 0)[:, None]
    front = np.minimum(front + missing, 1)
    back = np.maximum(back - np.maximum(0.4 - (front - back) @ luminance, 0)[:, None], 0)

    ramp = np.linspace(-1, 1, SIZE)
    slope = generator.uniform(-0.2, 0.2, (2, n, 1, 1, 1))
    gradient = (slope[0] * ramp[:, None, None] + slope[1] * ramp[None, :, None]) / 2
    coarse = generator.normal(0, 1, (n, 6, 6, 1)) * generator.uniform(0, 0.08, (n, 1, 1, 1))
    texture = np.repeat(np.repeat(coarse, 6, axis=1), 6, axis=2)[:, :SIZE, :SIZE]
    alpha = ink[..., None]
    picture = (back[:, None, None] + gradient + texture) * (1 - alpha) + front[:, None, None] * alpha

    mix = generator.uniform(0, 0.7, (n, 1, 1, 1))
    picture = (1 - mix) * picture + mix * _blur(picture)
    picture = picture + generator.normal(0, 1, picture.shape) * generator.uniform(0, 0.06, (n, 1, 1, 1))
    return np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)


def _blur(picture: np.ndarray) -> np.ndarray:
    """The mean of each pixel's 3x3 neighbourhood, edges repeated."""
    padded = np.pad(picture, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9
