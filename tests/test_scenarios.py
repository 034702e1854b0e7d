"""The experiments with text, labels, handwriting and video run on tiny made data, and find in them what is there."""

import gzip
import zipfile
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image, ImageDraw
from test_examples import load

from minitl.callbacks import WeightAveraging
from minitl.metrics.spans import brackets_of

SETTINGS = {"workers": 1, "keep": None, "dask": None, "quick": False, "seeds": 1}


@pytest.fixture
def vectors(tmp_path):
    """Vectors in which words of one kind are near to one another."""
    random = np.random.default_rng(0)
    kinds = {"animal": "cat dog cow hen", "verb": "sees eats hears", "place": "Rome Oslo Bonn".lower(), "other": "the in a ."}
    lines = []
    for words in kinds.values():
        middle = random.normal(size=6)
        lines += [f"{word} {' '.join(f'{v:.3f}' for v in middle + 0.1 * random.normal(size=6))}" for word in words.split()]
    (tmp_path / "vectors.txt").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "vectors.txt")


def sentence(random):
    animal, other = random.choice(["cat", "dog", "cow", "hen"], 2)
    return [
        "The",
        str(animal),
        str(random.choice(["sees", "eats", "hears"])),
        "the",
        str(other),
        "in",
        str(random.choice(["Rome", "Oslo"])),
        ".",
    ]


def test_text_classification(tmp_path, vectors, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name, count in (("TREC.train.all", 60), ("TREC.test.all", 30)):
        lines = []
        for k in range(count):
            words = sentence(random) if k % 2 else [*sentence(random)[:4], "."]
            lines.append(f"{k % 2} {' '.join(words)}")
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))
    example = load("text_classification")
    arguments = Namespace(
        data=str(tmp_path),
        vectors=[vectors],
        sets=["TREC"],
        sizes=[0],
        epochs=8,
        phrases=False,
        validate=False,
        ways=list(example.WAYS)[:3],
        **SETTINGS,
    )
    found = example.main(arguments)["TREC"]
    assert found["static"][0][0] >= 90  # the place tells the label
    assert set(found) == {"random", "static", "non-static"}
    assert "published vectors are worth" in capsys.readouterr().out
    asked = []
    monkeypatch.setattr(example, "run", lambda train, test, *rest: float(asked.append((len(train[0]), len(test[0]))) or 0))
    for arguments.validate, arguments.sizes in ((True, [0, 20]), (False, [0, 20])):
        example.main(arguments)
    # All but the tenth by which settings are chosen, which is learnt where all are and it is not measured on.
    assert asked == [(54, 6)] * 3 + [(20, 6)] * 3 + [(60, 30)] * 3 + [(20, 30)] * 3


def test_text_classification_on_phrases(tmp_path, vectors, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trees = [
        "(4 (4 good) (2 film))",
        "(0 (0 bad) (2 film))",
        "(4 (2 a) (4 (4 fine) (2 film)))",
        "(0 (2 a) (0 (0 poor) (2 film)))",
    ]
    (tmp_path / "sst_trees.train.gz").write_bytes(gzip.compress("\n".join(trees).encode() + b"\n"))
    lines = b"1 good film\n0 bad film\n1 a fine film\n0 a poor film\n"
    for part in ("train", "dev", "test"):
        (tmp_path / f"stsa.binary.{part}.gz").write_bytes(gzip.compress(lines))
    example = load("text_classification")
    averaged = []
    monkeypatch.setattr(example, "WeightAveraging", lambda **settings: averaged.append(settings) or WeightAveraging(**settings))
    arguments = Namespace(
        data=str(tmp_path),
        vectors=[vectors],
        sets=["SST-2"],
        sizes=[0],
        epochs=200,
        phrases=True,
        validate=False,
        ways=list(example.WAYS),
        **SETTINGS,
    )
    found = example.main(arguments)["SST-2"]
    assert found["non-static"][0][0] == found["multichannel"][0][0] == 100
    assert averaged == [{"start_epoch": 4}] * 4
    (tmp_path / "sst_trees.train.gz").write_bytes(gzip.compress(b"(3 (3 nice) (2 film))\n(1 (2 no) (1 dull))\n"))
    sentences, grades = example.read(tmp_path, "SST-2", True)[0]
    assert {" ".join(words): grade for words, grade in zip(sentences, grades, strict=True)} == {
        "nice film": 0.75, "nice": 0.75, "no dull": 0.25, "dull": 0.25,
    }  # fmt: skip
    for way, learnt in (("static", [False]), ("non-static", [True]), ("multichannel", [False, True])):
        layers = example.network(np.ones((5, 3), np.float32), 2, way).layers
        assert [layer.trainable for layer in layers if type(layer).__name__ == "Embedding"] == learnt


def conll(random, count):
    tags = {"Rome": "I-LOC", "Oslo": "I-LOC"}
    rows = (f"{word} X X {tags.get(word, 'O')}" for _ in range(count) for word in [*sentence(random), ""])
    return "-DOCSTART- -X- O O\n\n" + "\n".join("" if row.startswith(" ") else row for row in rows) + "\n"


def test_named_entities(tmp_path, vectors, capsys):
    random = np.random.default_rng(0)
    for name, count in (("eng.train", 60), ("eng.testa", 12), ("eng.testb", 12)):
        (tmp_path / name).write_text(conll(random, count))
    example = load("named_entities")
    found = example.main(Namespace(data=str(tmp_path), vectors=[vectors], ways=["static"], epochs=40, width=16, **SETTINGS))
    assert found["static"][0] >= 90
    assert example.shape_of("IBM") == 3 and example.shape_of("Rome") == 2 and example.shape_of("42nd") == 5
    assert example.iobes(["I-PER", "I-PER", "I-PER", "B-PER", "O"]) == ["B-PER", "I-PER", "E-PER", "S-PER", "O"]
    assert example.iobes(["I-PER", "B-PER", "I-PER"]) == ["S-PER", "B-PER", "E-PER"]


def roles(random, count):
    rows = []
    for _ in range(count):
        words = sentence(random)
        columns = ["(ARG0*", "*)", "(V*)", "(ARG1*", "*)", "(ARGM-LOC*", "*)", "*"]
        senses = ["-", "-", f"{words[2]}.01", *["-"] * 5]
        speech = ["DT", "NN", "VBZ", "DT", "NN", "IN", "NNP", "."]
        rows += ["\t".join(row) for row in zip(words, speech, senses, columns, strict=True)] + [""]
    return "\n".join(rows) + "\n"


def test_semantic_roles(tmp_path, vectors, capsys):
    random = np.random.default_rng(0)
    for name, count in (("train", 80), ("dev", 10), ("test", 10)):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(roles(random, count).encode()))
    example = load("semantic_roles")
    settings = {"data": str(tmp_path), "vectors": [vectors], "ways": ["static"], "width": 16, **SETTINGS}
    found = example.main(Namespace(epochs=30, twin=False, **settings))
    assert found["static"][0] >= 90
    assert found["baseline"][0] == pytest.approx(200 / 5)  # of 3 roles it names 2, and one of them is right
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    found = example.main(Namespace(epochs=2, twin=True, **settings))
    assert found["static, PyTorch"].shape == (1,)


def test_the_twin_computes_the_same(tmp_path, vectors):
    torch = pytest.importorskip("torch")
    from minitl.ops import crf

    load("semantic_roles")
    twin = load("semantic_roles_twin")
    random = np.random.default_rng(0)
    scores, transitions = random.normal(size=(3, 5, 4)).astype(np.float32), random.normal(size=(4, 4)).astype(np.float32)
    labels = np.array([[0, 1, 2, 3, 3], [1, 1, -1, -1, -1], [2, 0, 0, -1, -1]])
    potentials = scores[:, :, None] + transitions
    potentials[:, 0] = scores[:, 0, None]
    ours, _ = crf.forward(potentials, labels)
    theirs = twin.chain_loss(torch.tensor(scores), torch.tensor(transitions), torch.tensor(labels))
    assert float(theirs) == pytest.approx(float(ours), rel=1e-5)


def test_arguments_torn_apart():
    joined = load("semantic_roles").joined
    spans = brackets_of(["(ARG1*)", "(V*)", "(C-ARG1*)", "(R-ARG0*)", "(C-V*)"])
    assert joined(spans) == [(((0, 1, "ARG1"), (2, 3, "ARG1")), "ARG1"), (((3, 4, "R-ARG0"),), "R-ARG0")]


def drawing(kind, random):
    """A picture of 105x105, black ink on white: one of eight characters."""
    picture = Image.new("L", (105, 105), 255)
    draw = ImageDraw.Draw(picture)
    x, y = random.integers(25, 40, 2)
    box = [int(x), int(y), int(x) + 45, int(y) + 45]
    for bit, line in enumerate(
        [(box[0], box[1], box[2], box[3]), (box[0], box[3], box[2], box[1]), (box[0], box[1], box[2], box[1])]
    ):
        if kind >> bit & 1:
            draw.line(line, 0, 5)
    draw.ellipse(box, outline=0, width=5) if kind >= 4 else draw.line((box[0], box[1], box[0], box[3]), 0, 5)
    return picture


def test_handwriting(tmp_path, capsys):
    random = np.random.default_rng(0)

    def png(archive, name, kind):
        with archive.open(name, "w") as file:
            drawing(kind, random).save(file, "PNG")

    for part, alphabets in ((1, "AB"), (2, "CD")):
        with zipfile.ZipFile(tmp_path / f"omniglot_images_background_small{part}.zip", "w") as archive:
            for a, alphabet in enumerate(alphabets):
                for kind in range(4):
                    for drawer in range(20):
                        png(archive, f"x/{alphabet}/character{kind:02}/{drawer:02}.png", kind + 4 * a)
    with zipfile.ZipFile(tmp_path / "omniglot_all_runs.zip", "w") as archive:
        for run in range(1, 21):
            lines = []
            for kind in range(4):
                png(archive, f"run{run:02}/training/class{kind:02}.png", kind)
                png(archive, f"run{run:02}/test/item{kind:02}.png", kind)
                lines.append(f"run{run:02}/test/item{kind:02}.png run{run:02}/training/class{kind:02}.png")
            archive.writestr(f"run{run:02}/class_labels.txt", "\n".join(lines))
    np.savez(
        tmp_path / "mnist_10k_10k.npz",
        **{f"x_{part}": random.integers(0, 255, (300, 28, 28), dtype=np.uint8) for part in ("train", "test")},
        **{f"y_{part}": np.arange(300) % 10 for part in ("train", "test")},
    )
    np.savez(tmp_path / "letters_az.npz", x=random.integers(0, 255, (52, 28, 28), dtype=np.uint8), y=np.arange(52) % 26)
    example = load("handwriting")
    example.EPISODES, example.LABELS, example.UPDATES = ((3, 1),), (1,), 5
    found = example.main(Namespace(data=str(tmp_path), epochs=1, episodes=1, tests=20, **SETTINGS))
    assert set(found) == {"network", "random network", "pixels"}
    assert all(0 <= values[0] <= 75 for values in found.values())
    out = capsys.readouterr().out
    assert "held out" in out and "letters -> MNIST" in out


def test_video(tmp_path, capsys):
    random = np.random.default_rng(0)
    points, times, strokes, offset, labels, drawers = [], [], [], [0], [], []
    for character in range(8):
        angle = character * np.pi / 8
        for drawer in range(1, 21):
            line = np.linspace(-40, 40, 30)[:, None] * [np.cos(angle), np.sin(angle)] + 52 + random.normal(size=2)
            points.append(line * 4)
            times.append(np.full(30, 10))
            strokes.append(np.repeat([0, 1], 15))
            offset.append(offset[-1] + 30)
            labels.append(character)
            drawers.append(drawer)
    np.savez(
        tmp_path / "strokes.npz", xy4=np.concatenate(points).astype(np.uint16), dt_ms=np.concatenate(times).astype(np.uint16),
        stroke=np.concatenate(strokes).astype(np.uint8), offset=np.array(offset), y=np.array(labels), drawer=np.array(drawers),
    )  # fmt: skip
    example = load("video")
    clips, _, _ = example.read_strokes(str(tmp_path / "strokes.npz"))
    ink = clips.sum(axis=(2, 3))
    assert clips.shape == (160, 12, 32, 32)
    assert (np.diff(ink, axis=1) >= 0).all() and (ink[:, -1] > 1.5 * ink[:, 3]).all()
    for k in range(6):
        Image.fromarray(random.integers(0, 255, (40, 40, 3), dtype=np.uint8)).resize((128, 128)).save(tmp_path / f"{k}.jpg")
    right = example.moved(Image.open(tmp_path / "0.jpg"), "pan right", 4, np.random.default_rng(0))
    left = example.moved(Image.open(tmp_path / "0.jpg"), "pan left", 4, np.random.default_rng(0))
    np.testing.assert_array_equal(right, left[::-1])
    sizes = {"epochs": 1, "head_epochs": 1, "characters": 4, "pictures": 4}
    found = example.main(Namespace(strokes=str(tmp_path / "strokes.npz"), photos=str(tmp_path), **sizes, **SETTINGS))
    assert len(found) == 2
    assert set(found["Camera moves over photographs"]) == {*example.HEADS, "GRU, random network"}
