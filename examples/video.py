"""Video: a frozen image network sees single frames, and a small network on its features sees time.

    python examples/video.py --strokes omniglot_strokes.npz --photos FOLDER     about 20 minutes
    ... --quick                                                                 one seed, few clips, under two minutes

1. Handwriting as it is written (`--strokes`: the pen's path of 4,840 drawings of Omniglot, rendered as clips of 12 frames). The
   image network learnt the finished drawings of half the characters. Clips of the other half: 15 drawers to learn from, 5 to
   test. Accuracy against the share of the clip that was seen.
2. Camera moves over photographs (`--photos`: any folder of images): zoom in, zoom out, pan to the right, pan to the left. A
   pan to the left is a pan to the right backwards, so that only the order of the frames tells the class, and a mean of frames
   cannot do better than 50 %. The image network is the packaged EfficientNet-Lite0, cut where its maps have 6x6 places; a
   frame is the means of their rows and of their columns.

No free set of real clips was at hand; these are a real motion of hands, and made motions of a camera over real images. For
films of your own see `minitl.preprocessing.video`. Heads on the frames' features:

    last frame        one dense layer on the last one
    mean of frames    one dense layer on their mean
    Conv1D            windows of 3 frames, the strongest answer of each
    GRU               128 units

beside them, a GRU on a network with random weights, and the image network learnt from scratch on the last frame. Mean +- 95 %
interval over seeds. All settings are fixed beforehand; nothing is chosen on the test clips.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
from experiment import add_workers, one_per_processor, table
from handwriting import SIDE, network, wobble
from PIL import Image, ImageDraw

from minitl.applications.efficientnet_lite import EfficientNetLite0, preprocess_input
from minitl.layers import GRU, Conv1D, Dense, Dropout, GlobalMaxPooling1D, Input, Masking
from minitl.models import Model, Sequential
from minitl.optimizers import Adam
from minitl.parallel import each
from minitl.preprocessing.image import augmented, load_img
from minitl.schedules import CosineDecay
from minitl.utils import set_random_seed

FRAMES = 12
SHARES = (0.25, 0.5, 0.75, 1.0)
MOVES = ("zoom in", "zoom out", "pan right", "pan left")
HEADS = ("last frame", "mean of frames", "Conv1D", "GRU")
CUT = "block10_expand"  # the first maps of 6x6 places at 96x96 pixels stand before it


def rendered(points: np.ndarray, times: np.ndarray, strokes: np.ndarray) -> np.ndarray:
    """A clip (FRAMES, SIDE, SIDE), ink from 0 to 1: what was written at equal steps of time."""
    canvas = Image.new("L", (105, 105))
    draw, clip, reached = ImageDraw.Draw(canvas), np.zeros((FRAMES, SIDE, SIDE), np.float32), 1
    ends = np.linspace(0, times[-1], FRAMES + 1)[1:]
    for frame, end in enumerate(ends):
        while reached < len(points) and times[reached] <= end:
            if strokes[reached] == strokes[reached - 1]:
                draw.line([tuple(points[reached - 1]), tuple(points[reached])], 255, 3)
            reached += 1
        clip[frame] = np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255
    return clip


def read_strokes(file: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clips (N, FRAMES, SIDE, SIDE), characters (N,), drawers (N,)."""
    data = np.load(file)
    points, offset = data["xy4"].astype(float) / 4, data["offset"]
    clips = []
    for first, last in itertools.pairwise(offset):
        times = np.cumsum(data["dt_ms"][first:last].astype(float))
        clips.append(rendered(points[first:last], times - times[0], data["stroke"][first:last]))
    return np.stack(clips), data["y"].astype(int), data["drawer"].astype(int)


def frame_features(model: Model, clips: np.ndarray, layer: str = "features") -> np.ndarray:
    """Features of all frames (N, T, F), each computed once."""
    cut = Model(model.input, model.get_layer(layer).output)
    flat = cut.predict(clips.reshape(-1, *clips.shape[2:], 1), batch_size=240, verbose=0)
    return flat.reshape(*clips.shape[:2], -1)


def head(kind: str, shape: tuple[int, ...], classes: int) -> Sequential:
    """What stands on the frames' features."""
    layers = {
        "last frame": [],
        "mean of frames": [],
        "Conv1D": [Conv1D(128, 3, padding="same", activation="relu"), GlobalMaxPooling1D()],
        "GRU": [Masking(), GRU(128)],
    }[kind]
    return Sequential([Input(shape), *layers, Dropout(0.3), Dense(classes, activation="softmax")])


def seen(features: np.ndarray, kind: str, share: float) -> np.ndarray:
    """What a head gets of a clip of which only a part was seen."""
    count = round(share * features.shape[1])
    if kind == "last frame":
        return features[:, count - 1]
    if kind == "mean of frames":
        return features[:, :count].mean(axis=1)
    return np.where(np.arange(features.shape[1])[:, None] < count, features, 0)


def trained_head(kind: str, x: np.ndarray, y: np.ndarray, shares: tuple[float, ...], epochs: int) -> Sequential:
    """A head that learnt on clips seen in part and whole."""
    parts = np.concatenate([seen(x, kind, share) for share in shares])
    model = head(kind, parts.shape[1:], int(y.max()) + 1)
    model.compile(Adam(CosineDecay(2e-3, epochs * -(-len(parts) // 64))), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(parts, np.tile(y, len(shares)), batch_size=64, epochs=epochs, verbose=0)
    return model


def per_cent(model: Sequential, x: np.ndarray, y: np.ndarray) -> float:
    """Accuracy."""
    return 100 * model.evaluate(x, y, batch_size=200, verbose=0)[1]


def writing(seed: int, file: str, epochs: int, head_epochs: int, characters: int) -> dict[str, list[float]]:
    """One seed of the first experiment: accuracy per share of the clip, for every way."""
    clips, y, drawers = read_strokes(file)
    order = np.random.default_rng(seed).permutation(int(y.max()) + 1)
    half = len(order) // 2
    known, new = order[:half], order[half : half + characters]
    number = {int(c): k for k, c in enumerate(known)}
    rows = np.isin(y, known)
    x, labels = clips[rows, -1][..., None], np.array([number[int(c)] for c in y[rows]])
    set_random_seed(seed)
    base = network(len(known))
    base.compile(Adam(CosineDecay(2e-3, epochs * -(-len(x) // 50))), "sparse_categorical_crossentropy")
    base.fit(augmented(x, labels, wobble, batch_size=50, seed=seed), epochs=epochs, verbose=0)

    number = {int(c): k for k, c in enumerate(new)}
    train, test = (np.isin(y, new) & inside for inside in (drawers <= 15, drawers > 15))
    y_train, y_test = (np.array([number[int(c)] for c in y[part]]) for part in (train, test))
    found: dict[str, list[float]] = {}
    untrained = network(2)
    for name, model, kinds in (("", base, HEADS), (", random network", untrained, ("GRU",))):
        x, x_test = frame_features(model, clips[train]), frame_features(model, clips[test])
        scale = x.std()
        for kind in kinds:
            set_random_seed(100 + seed)
            best = trained_head(kind, x / scale, y_train, SHARES, head_epochs)
            found[kind + name] = [per_cent(best, seen(x_test / scale, kind, share), y_test) for share in SHARES]
    set_random_seed(100 + seed)
    scratch, last = network(len(new)), [round(share * FRAMES) - 1 for share in SHARES]
    scratch.compile(
        Adam(CosineDecay(2e-3, epochs * -(-4 * int(train.sum()) // 50))), "sparse_categorical_crossentropy", ["accuracy"]
    )
    x = np.concatenate([clips[train, frame] for frame in last])[..., None]
    scratch.fit(augmented(x, np.tile(y_train, 4), wobble, batch_size=50, seed=seed), epochs=epochs, verbose=0)
    found["last frame, scratch"] = [per_cent(scratch, clips[test, frame][..., None], y_test) for frame in last]
    return found


def moved(picture: Image.Image, move: str, frames: int, random: np.random.Generator, side: int = 96) -> np.ndarray:
    """A clip (frames, side, side, 3) of one move over an image."""
    width, height = picture.size
    small, large = random.uniform(0.5, 0.65), random.uniform(0.85, 1.0)
    steps = np.linspace(0, 1, frames)
    backwards = move in ("zoom out", "pan left")
    up = random.uniform(0, 1)
    clip = []
    for step in steps[::-1] if backwards else steps:
        share = large + step * (small - large) if move.startswith("zoom") else small
        w, h = share * width, share * height
        left = (width - w) * (0.5 if move.startswith("zoom") else step)
        top = (height - h) * (0.5 if move.startswith("zoom") else up)
        clip.append(np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR, (left, top, left + w, top + h))))
    return np.stack(clip)


def read_moves(folder: str, pictures: int, frames: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clips (N, frames, 96, 96, 3), moves (N,), and the number of each clip's image (N,)."""
    random = np.random.default_rng(seed)
    files = sorted(file for file in Path(folder).rglob("*.jpg"))
    if len(files) < pictures:
        raise ValueError(f"{folder}: {len(files)} JPEG files, {pictures} are needed")
    clips, labels, which = [], [], []
    for number, place in enumerate(random.choice(len(files), pictures, replace=False)):
        picture = load_img(files[place])
        for label, move in enumerate(MOVES):
            clips.append(moved(picture, move, frames, random))
            labels.append(label)
            which.append(number)
    return np.stack(clips), np.array(labels), np.array(which)


def rows_and_columns(model: Model, clips: np.ndarray) -> np.ndarray:
    """Features (N, T, F): the means of the maps' rows, and of their columns."""
    out = []
    for clip in clips:
        maps = model.predict_on_batch(preprocess_input(clip.astype(np.float32)))
        out.append(np.concatenate([maps.mean(axis=1).reshape(len(maps), -1), maps.mean(axis=2).reshape(len(maps), -1)], axis=1))
    return np.stack(out)


def moves(seed: int, folder: str, pictures: int, epochs: int) -> dict[str, list[float]]:
    """One seed of the second experiment: accuracy, and accuracy of telling the direction alone."""
    clips, y, which = read_moves(folder, pictures, 8, seed)
    test = which >= 0.75 * pictures
    found: dict[str, list[float]] = {}
    for name, weights, kinds in (("", "imagenet", HEADS), (", random network", None, ("GRU",))):
        set_random_seed(seed)
        base = EfficientNetLite0(weights=weights, include_top=False, input_shape=(96, 96, 3))
        features = rows_and_columns(Model(base.input, base.get_layer(CUT).input), clips)
        mean, deviation = features[~test].mean(axis=(0, 1)), features[~test].std(axis=(0, 1)) + 1e-3
        features = (features - mean) / deviation
        for kind in kinds:
            set_random_seed(100 + seed)
            model = trained_head(kind, features[~test], y[~test], (1.0,), epochs)
            found[kind + name] = [per_cent(model, seen(features[test], kind, 1.0), y[test])]
    return found


def main(arguments: argparse.Namespace) -> dict[str, dict[str, list[np.ndarray]]]:
    """Print both tables; returns {experiment: {way: accuracies of all seeds, per column}}."""
    started, results = time.perf_counter(), {}

    def show(title: str, function: object, settings: tuple, columns: list[str]) -> None:
        tasks = [(seed, *settings) for seed in range(arguments.seeds)]
        found = each(function, tasks, arguments.workers, arguments.keep, arguments.dask)  # type: ignore[arg-type]
        rows = {way: [np.array([one[way][k] for one in found]) for k in range(len(columns))] for way in found[0]}
        print(f"\n{title}, accuracy in %")
        table("", rows, columns)
        results[title] = rows

    if arguments.strokes:
        settings = (arguments.strokes, arguments.epochs, arguments.head_epochs, arguments.characters)
        columns = [f"{100 * share:.0f} % seen" for share in SHARES]
        show("Handwriting as it is written", writing, settings, columns)
    if arguments.photos:
        settings = (arguments.photos, arguments.pictures, arguments.head_epochs)
        show("Camera moves over photographs", moves, settings, ["4 moves"])
    print(f"{time.perf_counter() - started:.0f} s")
    return results


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strokes", metavar="FILE")
    parser.add_argument("--photos", metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=12, help="of the image network")
    parser.add_argument("--head-epochs", type=int, default=15)
    parser.add_argument("--characters", type=int, default=100)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--quick", action="store_true")
    add_workers(parser, one_per_processor())  # the networks are small
    arguments = parser.parse_args()
    if not arguments.strokes and not arguments.photos:
        parser.error("give --strokes, --photos, or both")
    if arguments.quick:
        arguments.seeds, arguments.epochs, arguments.head_epochs = 1, 2, 4
        arguments.characters, arguments.pictures = 30, 60
    return arguments


if __name__ == "__main__":
    main(parse())
