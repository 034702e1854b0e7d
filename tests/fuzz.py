"""Damages files in many ways and reads them: each is refused with one ValueError, or read; nothing else may happen.

    python tests/fuzz.py                                20,000 inputs of each kind: half an hour
    python tests/fuzz.py model images --inputs 500

Kinds: weights and model (.npz), keras, h5, onnx (whole models), branches (.keras with words and branches), operators (.onnx with
functions and recurrent layers), torch, safetensors, weights.h5 (weights), images (six formats).
Changed are bytes, and what a checksum would hide: the members of an archive, the headers of its arrays, and the values in its
JSON. A model that was read predicts, or refuses that with a ValueError. A model that refused weights keeps its own, bit for bit.
Memory may grow by four times the file and 200 MB. What broke a rule is printed with its seed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import resource
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

import minitl
from minitl.layers import (
    GRU,
    LSTM,
    Add,
    BatchNormalization,
    Bidirectional,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Embedding,
    Flatten,
    Input,
    LayerNormalization,
    MaxPooling2D,
    Normalization,
    RandomFlip,
    ReLU,
    Rescaling,
    SpatialDropout2D,
    TimeDistributed,
    UpSampling2D,
)
from minitl.models import Model, load_model
from minitl.photographs.images import read
from minitl.utils import set_random_seed

ODD = [
    None, True, False, -1, 0, 1, 2, 3, 1.5, -0.0, 1e308, float("nan"), float("inf"), 10**9, 10**30, -(10**30), "", "x", "relu",
    "same", "../x", "\0", [], {}, [1], [None], [2, 2], [1, 2, 3], [[1]], {"class_name": "Dense"}, {"value": 0}, "a" * 1000,
    {"class_name": "Dense", "config": {"units": 3}}, {"class_name": "Adam", "config": {}}, {"tuple": [1]},
]  # fmt: skip
MEGABYTES = 200
FORMATS = {"jpg": {}, "png": {}, "gif": {}, "bmp": {}, "webp": {}, "tiff": {"compression": "tiff_deflate"}}


def images() -> Model:
    """A small network for images, compiled and trained by one step, so that its file has all that a file can have."""
    inputs = Input((9, 7, 4))
    x = RandomFlip()(Rescaling(0.5)(inputs))
    x = ReLU()(BatchNormalization()(Conv2D(6, 3, padding="same", kernel_regularizer="l2")(x)))
    x = Add()([x, Conv2D(6, 3, padding="same", groups=2)(x)]) * 2.0
    x = Dropout(0.2)(MaxPooling2D()(DepthwiseConv2D(3, depth_multiplier=2)(x)))
    model = Model(inputs, Dense(5, activation="softmax")(Flatten()(x)))
    model.compile("adam", "categorical_crossentropy", ["accuracy", "auc"])
    model.train_on_batch(np.ones((2, 9, 7, 4), "float32"), np.eye(5)[:2])
    return model


def sentences() -> Model:
    """A small network for words."""
    inputs = Input((6,), dtype="int32")
    x = Bidirectional(LSTM(3, return_sequences=True))(Embedding(9, 4, mask_zero=True)(inputs))
    model = Model(inputs, TimeDistributed(Dense(2, activation="softmax"))(x))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def branches() -> Model:
    """A network with a branch, of layers that Keras has."""
    inputs = Input((6, 5, 4))
    x = Conv2DTranspose(4, 3, padding="same")(Normalization(mean=[1, 2, 3, 4], variance=[1, 1, 2, 2])(inputs))
    x = Concatenate()([LayerNormalization()(x), SpatialDropout2D(0.1)(inputs)])
    model = Model(inputs, Bidirectional(GRU(3))(TimeDistributed(Flatten())(UpSampling2D(interpolation="bilinear")(x))))
    model.compile("adam", "mse")
    return model


def operators(path: Path) -> None:
    """An ONNX graph of functions of arrays."""
    import onnx
    from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

    drawn = np.random.default_rng(0)
    constants = {
        "scale": np.ones(6, np.float32), "sizes": np.array([2, 4]), "from": np.array([0]), "to": np.array([3]),
        "axis": np.array([1]),
        "first": drawn.normal(size=(1, 1, 4)).astype(np.float32), "shape": np.array([0, 2, -1]), "places": np.array([1, 0]),
        "times": np.array([1, 1, 2]), "last": np.array([-1]), "zero": np.float32(0),
    }  # fmt: skip
    nodes = [
        make_node("LayerNormalization", ["x", "scale", "scale"], ["n"]), make_node("Split", ["n", "sizes"], ["a", "b"], axis=2),
        make_node("Slice", ["b", "from", "to", "axis"], ["c"]), make_node("Concat", ["first", "c"], ["d"], axis=1),
        make_node("Transpose", ["d"], ["e"], perm=[0, 2, 1]), make_node("MatMul", ["d", "e"], ["f"]),
        make_node("Softmax", ["f"], ["g"]), make_node("Einsum", ["g", "d"], ["h"], equation="nij,njk->nik"),
        make_node("Greater", ["h", "zero"], ["i"]), make_node("Erf", ["h"], ["j"]), make_node("Where", ["i", "j", "h"], ["k"]),
        make_node("Reshape", ["k", "shape"], ["l"]), make_node("Gather", ["l", "places"], ["m"], axis=1),
        make_node("Tile", ["m", "times"], ["o"]), make_node("ReduceL2", ["o", "last"], ["p"]),
        make_node("ArgMax", ["o"], ["q"], axis=2), make_node("Cast", ["q"], ["r"], to=1), make_node("Add", ["p", "r"], ["y"]),
    ]  # fmt: skip
    shapes = (("x", ["N", 4, 6]), ("y", ["N", 2, 1]))
    x, y = (make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes)
    held = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    onnx.save(make_model(make_graph(nodes, "g", [x], [y], held), opset_imports=[make_opsetid("", 18)]), str(path))


def chain() -> Model:
    """What every format can hold."""
    return minitl.Sequential(
        [Input((9, 7, 4)), Conv2D(6, 3, activation="relu"), BatchNormalization(), MaxPooling2D(), Flatten(), Dense(5)]
    )


def damaged(data: bytes, drawn: np.random.Generator) -> bytes:
    """The file with one to five changes, most often one."""
    archive = zipfile.is_zipfile(io.BytesIO(data))
    for _ in range(min(drawn.geometric(0.6), 5)):
        if archive and drawn.random() < 0.8:
            data = _in_archive(data, drawn)
        else:
            data = _in_bytes(data, drawn)
            archive = archive and zipfile.is_zipfile(io.BytesIO(data))
    return data


def _in_bytes(data: bytes, drawn: np.random.Generator) -> bytes:
    if not data:
        return bytes(drawn.integers(0, 256, 20, np.uint8))
    changed, kind = bytearray(data), drawn.integers(6)
    near = int(drawn.integers(min(600, len(data))))  # headers are short
    place = [near, len(data) - 1 - near, int(drawn.integers(len(data)))][drawn.integers(3)]
    if kind == 0:
        return data[:place]
    if kind == 1:
        del changed[place : place + drawn.integers(1, 40)]
    elif kind == 2:
        changed[place:place] = drawn.integers(0, 256, drawn.integers(1, 40), np.uint8).tobytes()
    elif kind == 3:
        changed[place : place + 4] = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80"][drawn.integers(4)]
    else:
        changed[place] = drawn.integers(256)
    return bytes(changed)


def _in_archive(data: bytes, drawn: np.random.Generator) -> bytes:
    """Another valid archive: checksums do not give the change away."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [[name, archive.read(name)] for name in archive.namelist()]
    except Exception:
        return _in_bytes(data, drawn)
    if not members:
        return _in_bytes(data, drawn)
    one, other = (int(drawn.integers(len(members))) for _ in range(2))
    described = [place for place, (name, _) in enumerate(members) if name.endswith(".json")]
    kind = drawn.integers(12)
    if kind == 0:
        del members[one]
    elif kind == 1:
        members[one][1], members[other][1] = members[other][1], members[one][1]
    elif kind == 2:
        members[one][0] = ["../x.npy", "x.npy", members[other][0], members[one][0].upper(), "a/b/c.npy", "/"][drawn.integers(6)]
    elif kind < 9 and described:
        place = described[drawn.integers(len(described))]
        members[place][1] = _in_json(members[place][1], drawn)
    else:
        members[one][1] = _in_bytes(members[one][1], drawn)
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that come twice
        with zipfile.ZipFile(written, "w") as archive:
            for name, body in members:
                archive.writestr(name, body)
    return written.getvalue()


def _in_json(text: bytes, drawn: np.random.Generator) -> bytes:
    """One value replaced, left out, doubled, or exchanged for another."""
    try:
        tree = json.loads(text)
    except ValueError:
        return _in_bytes(text, drawn)
    places: list[tuple] = []
    _places(tree, places)
    if not places:
        return _in_bytes(text, drawn)
    (holder, key), (other_holder, other_key) = (places[drawn.integers(len(places))] for _ in range(2))
    kind = drawn.integers(5)
    if kind == 0 or (kind == 1 and isinstance(holder, dict)):
        del holder[key]
    elif kind == 1:
        holder.append(copy.deepcopy(holder[key]))
    elif kind == 2:
        holder[key] = copy.deepcopy(other_holder[other_key])
    else:
        holder[key] = copy.deepcopy(ODD[drawn.integers(len(ODD))])
    return json.dumps(tree).encode()


def _places(tree: object, found: list[tuple]) -> None:
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, part in pairs:
        found.append((tree, key))
        _places(part, found)


def read_model(path: Path) -> None:
    """Load a whole model, and let it predict."""
    model = load_model(path)
    shapes = [(2, *(7 if n is None else n for n in value.shape[1:])) for value in model.graph.inputs]
    if sum(map(np.prod, shapes)) < 1 << 20:
        x = [np.ones(shape, value.dtype) for shape, value in zip(shapes, model.graph.inputs, strict=True)]
        model.predict(x if len(x) > 1 else x[0], verbose=0)


def read_weights(path: Path) -> None:
    """Load weights into a network that was there before."""
    model = chain()
    before = [w.tobytes() for w in model.weights]
    try:
        model.load_weights(path)
    except ValueError:
        if before != [w.tobytes() for w in model.weights]:
            raise RuntimeError("a file that was refused has changed the model") from None
        raise


def originals(kind: str, folder: Path) -> list[Path]:
    """Good files of a kind."""
    if kind == "images":
        from PIL import Image

        pixels = np.random.default_rng(0).integers(0, 256, (19, 23, 3), np.uint8)
        for ending, settings in FORMATS.items():
            Image.fromarray(pixels).save(folder / f"good.{ending}", **settings)
        return [folder / f"good.{ending}" for ending in FORMATS]
    if kind == "model":
        images().save(folder / "good.npz")
        sentences().save(folder / "words.npz")
        return [folder / "good.npz", folder / "words.npz"]
    if kind == "branches":
        branches().save(folder / "good.keras")
        sentences().save(folder / "words.keras")
        return [folder / "good.keras", folder / "words.keras"]
    if kind == "operators":
        operators(folder / "good.onnx")
        minitl.Sequential([Input((5, 3)), Bidirectional(LSTM(2, return_sequences=True)), GRU(2)]).save(folder / "steps.onnx")
        return [folder / "good.onnx", folder / "steps.onnx"]
    path = folder / f"good.{ {'weights': 'npz', 'torch': 'pt'}.get(kind, kind) }"
    chain().save(path) if kind in ("keras", "h5", "onnx") else chain().save_weights(path)
    return [path]


READERS = {
    **dict.fromkeys(("model", "keras", "h5", "onnx", "branches", "operators"), read_model),
    **dict.fromkeys(("weights", "torch", "safetensors", "weights.h5"), read_weights),
    "images": lambda path: read(path, 32),
}


def fuzz(kind: str, inputs: int, first: int, folder: Path) -> tuple[Counter, list[str]]:
    """How often what happened, and a line for each input that broke a rule."""
    set_random_seed(0)
    good = originals(kind, folder)
    data = [path.read_bytes() for path in good]
    for path in good:
        READERS[kind](path)  # what is imported and compiled once
    counts: Counter = Counter()
    broken: list[str] = []
    peak = _peak()
    for seed in range(first, first + inputs):
        drawn = np.random.default_rng(seed)
        which = int(drawn.integers(len(good)))
        path = folder / f"bad.{good[which].name.split('.', 1)[1]}"
        content = damaged(data[which], drawn)
        path.write_bytes(content)
        begun = time.perf_counter()
        try:
            READERS[kind](path)
            counts["read"] += 1
        except ValueError:
            counts["refused"] += 1
        except Exception as error:
            counts["broken"] += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            broken.append(f"{kind} {seed}: {type(error).__name__}: {str(error)[:100]} ({where.filename}:{where.lineno})")
        if time.perf_counter() - begun > 5:
            broken.append(f"{kind} {seed}: took {time.perf_counter() - begun:.1f} s")
        if _peak() > peak + 4 * len(content) / 1e6 + MEGABYTES:
            broken.append(f"{kind} {seed}: memory grew from {peak:.0f} to {_peak():.0f} MB")
        peak = max(peak, _peak())
    return counts, broken


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=[], metavar="KIND", help=", ".join(READERS))
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    wanted = parser.parse_args()
    failed = 0
    for kind in wanted.kinds or READERS:
        with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"), minitl.use_backend("numpy"):
            warnings.simplefilter("ignore")
            counts, broken = fuzz(kind, wanted.inputs, wanted.first, Path(folder))
        print(f"{kind:12} {wanted.inputs} inputs: {counts['refused']} refused, {counts['read']} read, {len(broken)} broken")
        print("\n".join(broken[:40]), flush=True)
        failed += len(broken)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
