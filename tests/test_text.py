"""Text: word vectors and labelled sentences from their files, what is wrong with a file said with its line, words as numbers."""

import gzip
import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from minitl.datasets import imdb, reuters
from minitl.datasets.sentences import read_columns, read_labelled, read_trees
from minitl.embeddings import Vectors, load_vectors
from minitl.layers import Dense, Embedding, Input, TextVectorization
from minitl.metrics.spans import brackets_of, span_scores, spans_of, tags_of
from minitl.models import Sequential

WORDS = {"king": [1, 0, 1], "queen": [1, 1, 1], "man": [0, 0, 1], "woman": [0, 1, 1], "apple": [-1, 0.5, -1]}


def glove(rows=WORDS):
    return "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in rows.items())


def write(path, content):
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def word2vec_binary(rows=WORDS):
    entries = b"".join(word.encode() + b" " + struct.pack("<3f", *row) + b"\n" for word, row in rows.items())
    return f"{len(rows)} 3\n".encode() + entries


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("glove.txt", glove()),
        ("glove.txt.gz", glove()),
        ("word2vec.txt", f"{len(WORDS)} 3\n" + glove()),
        ("word2vec.bin", word2vec_binary()),
        ("word2vec.bin.gz", word2vec_binary()),
    ],
)
def test_published_formats(tmp_path, name, content):
    vectors = load_vectors(write(tmp_path / name, content))
    assert vectors.words == list(WORDS)
    np.testing.assert_array_equal(vectors.matrix, np.array(list(WORDS.values()), np.float32))
    some = load_vectors(tmp_path / name, words={"man", "apple", "nothing"})
    assert some.words == ["man", "apple"]
    np.testing.assert_array_equal(some["apple"], np.float32(WORDS["apple"]))
    assert load_vectors(tmp_path / name, limit=3).words[:2] == ["king", "queen"]
    vectors.save(tmp_path / "small.npz")
    np.testing.assert_array_equal(load_vectors(tmp_path / "small.npz").matrix, vectors.matrix)


def test_words_with_spaces_and_twice(tmp_path):
    vectors = load_vectors(write(tmp_path / "v.txt", "a 1 2\n. . . 3 4\na 5 6\n"))
    assert vectors.words == ["a", ". . ."]
    np.testing.assert_array_equal(vectors["a"], [1, 2])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.txt", "a 1 2 3\nb 1 2 x\n", r"v\.txt, line 2: expected 3 numbers behind 'b'"),
        ("v.txt", "a 1 2 3\nb 1 2\n", r"v\.txt, line 2: expected a word and 3 numbers, got 2"),
        ("v.txt", b"a 1 2\n\xff\xfe 1 2\n", r"v\.txt, line 2: not UTF-8"),
        ("v.bin", word2vec_binary()[:-5], r"v\.bin: ends in the middle of vector 5 of 5"),
        ("v.bin", b"not a file\n", r"v\.bin: no word2vec file"),
    ],
)
def test_damaged_vectors_are_named_with_their_line(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        load_vectors(write(tmp_path / name, content))


def test_no_file_of_vectors(tmp_path):
    with pytest.raises(OSError, match=r"none\.txt"):
        load_vectors(tmp_path / "none.txt")


def test_coverage_table_neighbours_and_analogy():
    vectors = Vectors(list(WORDS), np.array(list(WORDS.values()), np.float32))
    cover = vectors.coverage({"king": 6, "xyzzy": 3, "plugh": 1})
    assert cover["words"] == pytest.approx(1 / 3)
    assert cover["tokens"] == pytest.approx(0.6)
    assert cover["missing"] == ["xyzzy", "plugh"]
    table = vectors.table({"queen": 1, "xyzzy": 2, "apple": 3})
    np.testing.assert_array_equal(table[[0, 1, 3]], np.float32([[0, 0, 0], WORDS["queen"], WORDS["apple"]]))
    assert table[2].any()
    many = vectors.table({f"word{k}": k for k in range(1, 4000)})
    np.testing.assert_allclose(many[1:].var(axis=0), vectors.matrix.var(axis=0), rtol=0.1)
    assert [word for word, _ in vectors.nearest("king", 2)] == ["queen", "man"]
    assert vectors.nearest("king", 1)[0][1] == pytest.approx(2 / np.sqrt(6))
    assert vectors.analogy("man", "king", "woman")[0][0] == "queen"
    with pytest.raises(ValueError, match="no vector for 'xyzzy'"):
        vectors.nearest("xyzzy")
    with pytest.raises(ValueError, match="no vector for 'xyzzy'"):
        vectors.analogy("man", "king", "xyzzy")
    with pytest.raises(ValueError, match="2 words and 1 rows"):
        Vectors(["a", "b"], np.zeros((1, 3)))


def test_a_frozen_table_stays_and_a_learnt_one_moves():
    table = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    x, y = np.array([[1, 2], [3, 4]] * 8), np.array([0, 1] * 8)
    for trainable in (False, True):
        layer = Embedding(6, 4, weights=table, trainable=trainable)
        from minitl.layers import Flatten

        model = Sequential([Input((2,), dtype="int32"), layer, Flatten(), Dense(2, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(x, y, epochs=2, verbose=0)
        assert (layer.get_weights()[0] == table).all() != trainable
        np.testing.assert_array_equal(layer.get_weights()[0][5], table[5])  # a word that does not occur


# Labelled sentences.


def test_one_sentence_per_line(tmp_path):
    path = write(tmp_path / "s.gz", "1 a fine film\n0 dull\r\n")
    assert read_labelled(path) == ([["a", "fine", "film"], ["dull"]], [1, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 fine\nno label\n", r"s, line 2: expected a label and a sentence, got 'no label'"),
        ("1 fine\n0 \n", r"s, line 2: expected a label and a sentence"),
        ("1 fine\n\n", r"s, line 2: expected a label"),
        (b"1 fine\n0 caf\xe9\n", r"s, line 2: not utf-8 .*encoding='latin-1'"),
    ],
)
def test_damaged_sentences_are_named_with_their_line(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_labelled(write(tmp_path / "s", content))


def test_another_encoding(tmp_path):
    assert read_labelled(write(tmp_path / "s", b"1 caf\xe9\n"), encoding="latin-1")[0] == [["caf\u00e9"]]


def test_columns(tmp_path):
    path = write(tmp_path / "c", "-DOCSTART- -X- O O\n\nEU NNP I-ORG\nrejects VBZ O\n\n\nPeter NNP I-PER\n")
    assert read_columns(path) == [[["EU", "NNP", "I-ORG"], ["rejects", "VBZ", "O"]], [["Peter", "NNP", "I-PER"]]]
    with pytest.raises(ValueError, match=r"c, line 2: expected 3 columns, got 2"):
        read_columns(write(tmp_path / "c", "a b c\nd e\n"))


def test_trees(tmp_path):
    nodes = read_trees(write(tmp_path / "t", "(3 (2 a) (4 (2 fine) (2 film)))\n"))
    assert nodes == [[(3, ["a", "fine", "film"]), (2, ["a"]), (4, ["fine", "film"]), (2, ["fine"]), (2, ["film"])]]
    for content, message in (("(3 (2 a)\n", "line 1: 1 brackets are never closed"), ("3 a\n", "line 1: not a tree")):
        with pytest.raises(ValueError, match=message):
            read_trees(write(tmp_path / "t", content))


# Spans, by the rules of conlleval.


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("B-PER I-PER O B-LOC", [(0, 2, "PER"), (3, 4, "LOC")]),
        ("I-PER I-PER I-ORG", [(0, 2, "PER"), (2, 3, "ORG")]),  # IOB1: a new type begins a span
        ("I-PER B-PER I-PER", [(0, 1, "PER"), (1, 3, "PER")]),
        ("O I-LOC", [(1, 2, "LOC")]),  # breaks the rules of IOB2, and begins a span all the same
        ("B-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
        ("B-PER E-PER S-LOC I-LOC", [(0, 2, "PER"), (2, 3, "LOC"), (3, 4, "LOC")]),
        ("", []),
    ],
)
def test_spans(tags, spans):
    assert spans_of(tags.split()) == spans


def test_wrong_tags():
    for tag in ("PER", "X-PER", "B-"):
        with pytest.raises(ValueError, match=f"tag '{tag}' at place 1"):
            spans_of(["O", tag])


def test_scores_counted_by_hand():
    # Counted by hand: 3 of the 4 found are right, of 5.
    right = [spans_of(["B-NP", "I-NP", "B-VP", "B-NP", "O", "B-PP", "B-NP"])]
    found = [spans_of(["B-NP", "I-NP", "B-VP", "I-VP", "O", "B-PP", "B-NP"])]
    scores = span_scores(right, found)
    assert scores["precision"] == 3 / 4
    assert scores["recall"] == 3 / 5
    assert scores["f1"] == pytest.approx(2 / 3)
    assert span_scores([[]], [[]]) == {"precision": 0, "recall": 0, "f1": 0}


def test_brackets():
    column = ["(ARG0*", "*)", "(V*)", "(ARG1*)", "*"]
    spans = [(0, 2, "ARG0"), (2, 3, "V"), (3, 4, "ARG1")]
    assert brackets_of(column) == spans
    assert tags_of(spans, 5) == ["B-ARG0", "I-ARG0", "B-V", "B-ARG1", "O"]
    for bad, message in ((["(A*", "(B*"], "place 1"), (["*)"], "closes what was not opened"), (["(A*"], "never closed")):
        with pytest.raises(ValueError, match=message):
            brackets_of(bad)


# TextVectorization: the numbers are those of Keras.


def test_vectorization_counts_and_numbers():
    vectorize = TextVectorization(output_sequence_length=4)
    vectorize.adapt(["foo bar", "bar baz", "baz, bada BOOM!"])
    assert vectorize.get_vocabulary() == ["", "[UNK]", "baz", "bar", "foo", "boom", "bada"]
    np.testing.assert_array_equal(vectorize([["foo qux bar"], ["qux baz"]]), [[4, 1, 3, 0], [1, 2, 0, 0]])
    np.testing.assert_array_equal(vectorize("bar"), [3, 0, 0, 0])
    np.testing.assert_array_equal(vectorize(np.array([b"foo foo foo foo foo"])), [[4, 4, 4, 4]])
    assert vectorize.vocabulary_size() == 7


def test_vectorization_modes():
    words = ["earth", "wind", "fire"]
    texts = ["Fire, fire and wind", ""]
    entries = {mode: TextVectorization(output_mode=mode, vocabulary=words)(texts) for mode in ("multi_hot", "count")}
    np.testing.assert_array_equal(entries["multi_hot"], [[1, 0, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(entries["count"], [[1, 0, 1, 2], [0, 0, 0, 0]])
    weighted = TextVectorization(output_mode="tf_idf")
    weighted.adapt(["a b", "a c", "a"])
    assert weighted.get_vocabulary() == ["[UNK]", "a", "c", "b"]
    idf = np.log(1 + 3 / (1 + np.array([3, 1, 1])))
    np.testing.assert_allclose(weighted(["a a b z"]), [[idf.mean(), 2 * idf[0], 0, idf[2]]], rtol=1e-6)
    assert TextVectorization(6, output_mode="count", vocabulary=words, pad_to_max_tokens=True)(["x"]).shape == (1, 6)


def test_vectorization_settings(tmp_path):
    pairs = TextVectorization(ngrams=2, standardize="lower")
    pairs.adapt(["A b c"])
    assert set(pairs.get_vocabulary(include_special_tokens=False)) == {"a", "b", "c", "a b", "b c"}
    letters = TextVectorization(split="character", standardize=None, max_tokens=3)
    letters.adapt(iter([["aab"], ["c"]]))
    assert letters.get_vocabulary() == ["", "[UNK]", "a"]
    (tmp_path / "words.txt").write_text("one\ntwo\n")
    assert TextVectorization(vocabulary=tmp_path / "words.txt")(["two three"]).tolist() == [[3, 1]]
    own = TextVectorization(standardize=lambda text: text.replace("-", " "), split=lambda text: text.split())
    own.adapt(["a-b"])
    assert own.get_vocabulary() == ["", "[UNK]", "b", "a"]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: TextVectorization()(["a"]), "call adapt"),
        (lambda: TextVectorization(output_mode="bits"), "unknown output_mode"),
        (lambda: TextVectorization(split="space"), "unknown way to treat a text 'space'"),
        (lambda: TextVectorization(output_mode="count", output_sequence_length=3), "is for output_mode='int'"),
        (lambda: TextVectorization(vocabulary=["a", "a"]), "'a' twice"),
        (lambda: TextVectorization(2, vocabulary=["a"]), "max_tokens=2"),
        (lambda: TextVectorization(output_mode="tf_idf", vocabulary=["a"]), "needs idf_weights"),
        (lambda: TextVectorization(output_mode="count", vocabulary=["a"], idf_weights=[2.0]), "belong to output_mode='tf_idf'"),
        (lambda: TextVectorization(vocabulary=["a"])([3]), "expected texts, got int"),
        (lambda: TextVectorization(vocabulary=["a"])(Input((1,))), "not inside a model"),
    ],
)
def test_vectorization_refuses(use, message):
    with pytest.raises(ValueError, match=message):
        use()


def test_a_program_from_a_folder_of_texts(tmp_path):
    from minitl.layers import GlobalAveragePooling1D
    from minitl.utils import text_dataset_from_directory

    for name, words in (("neg", "dull bad poor"), ("pos", "fine good great")):
        (tmp_path / name).mkdir()
        for k in range(20):
            (tmp_path / name / f"{k}.txt").write_text(f"A {words.split()[k % 3]} film, number {k}.")
    settings = {"batch_size": 4, "validation_split": 0.25, "seed": 3, "verbose": False}
    train, valid = text_dataset_from_directory(tmp_path, subset="both", **settings)
    assert train.class_names == ["neg", "pos"] and len(train) == 8 and len(valid) == 3
    assert not set(train.file_paths) & set(valid.file_paths)
    texts, labels = next(iter(train))
    assert texts.shape == (4,) and labels.dtype == np.int32
    for text, label in zip(texts, labels, strict=True):
        assert any(word in text for word in (("dull", "bad", "poor"), ("fine", "good", "great"))[label])
    vectorize = TextVectorization(max_tokens=50, output_sequence_length=5)
    vectorize.adapt(train.map(lambda x, y: x))
    ready = train.map(lambda x, y: (vectorize(x), y)).cache().prefetch(2)
    model = Sequential([Input((5,), dtype="int32"), Embedding(50, 8), GlobalAveragePooling1D(), Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(ready, validation_data=valid.map(lambda x, y: (vectorize(x), y)), epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] and "val_accuracy" in history
    short = text_dataset_from_directory(tmp_path, label_mode="binary", max_length=3, shuffle=False, verbose=False)
    texts, labels = next(iter(short))
    assert all(len(text) == 3 for text in texts) and labels.shape == (32, 1)
    assert next(iter(text_dataset_from_directory(tmp_path, labels=None, verbose=False))).shape == (32,)
    (tmp_path / "pos" / "odd.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"odd\.txt: is not UTF-8"):
        list(text_dataset_from_directory(tmp_path, verbose=False))
    with pytest.raises(FileNotFoundError, match="no folder"):
        text_dataset_from_directory(tmp_path / "none")
    with pytest.raises(ValueError, match="give a seed"):
        text_dataset_from_directory(tmp_path, validation_split=0.5, subset="training")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no \.txt files"):
        text_dataset_from_directory(tmp_path / "empty")


# IMDB and Reuters.


def lists(*texts):
    out = np.empty(len(texts), object)
    out[:] = [list(text) for text in texts]
    return out


def test_imdb_is_keras_s(tmp_path):
    path = tmp_path / "imdb.npz"
    x, x_test = lists([1, 9, 5], [2], [3, 4], [6, 7, 8, 9]), lists([5, 5], [7])
    np.savez(path, x_train=x, y_train=np.arange(4), x_test=x_test, y_test=np.array([0, 1]))
    (texts, labels), (tests, test_labels) = imdb.load_data(str(path), num_words=9, skip_top=5, seed=3)
    random = np.random.RandomState(3)
    order, test_order = random.permutation(4), random.permutation(2)
    expected = [[1, *(w + 3 for w in x[k])] for k in order]
    expected = [[w if 5 <= w < 9 else 2 for w in text] for text in expected]
    assert texts.tolist() == expected
    np.testing.assert_array_equal(labels, order)
    np.testing.assert_array_equal(test_labels, test_order)
    assert len(tests) == 2
    short = imdb.load_data(str(path), maxlen=3, start_char=None, index_from=0, oov_char=None)
    assert sorted(short[0][0].tolist()) == [[2], [3, 4]]
    with pytest.raises(ValueError, match="maxlen=1"):
        imdb.load_data(str(path), maxlen=1)
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    from unittest.mock import patch

    with patch("keras.src.datasets.imdb.get_file", lambda **_: str(path)):
        theirs = keras.datasets.imdb.load_data(num_words=9, skip_top=5, seed=3)
    assert [list(text) for text in theirs[0][0]] == expected
    np.testing.assert_array_equal(theirs[0][1], labels)


def test_reuters_is_keras_s(tmp_path):
    path = tmp_path / "reuters.npz"
    np.savez(path, x=lists(*[[k, k + 1] for k in range(1, 11)]), y=np.arange(10))
    (x, y), (x_test, y_test) = reuters.load_data(str(path), num_words=100, test_split=0.3)
    assert len(x) == 7 and len(x_test) == 3
    order = np.random.RandomState(113).permutation(10)
    np.testing.assert_array_equal(np.concatenate([y, y_test]), order)
    assert x[0] == [1, order[0] + 4, order[0] + 5]
    assert len(reuters.get_label_names()) == 46


def test_a_file_of_words_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, ("raise SystemExit('ran')",))

    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    with zipfile.ZipFile(tmp_path / "imdb.npz", "w") as archive:
        archive.writestr("x_train.npy", member.getvalue() + pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r"asks for builtins\.exec"):
        imdb.load_data(str(tmp_path / "imdb.npz"))
    (tmp_path / "imdb.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not an npz file"):
        imdb.load_data(str(tmp_path / "imdb.npz"))


def test_vectors_of_words(tmp_path):
    vectors = Vectors(["a", "b"], np.eye(2, 3, dtype=np.float32))
    assert repr(vectors) == "<Vectors: 2 words, 3 numbers each>"
    np.savez(tmp_path / "v.npz", words=np.frombuffer(b"a\nb", np.uint8))
    with pytest.raises(ValueError, match="expected arrays words and vectors, got words"):
        load_vectors(tmp_path / "v.npz")
    np.savez(tmp_path / "v.npz", words=np.array([{}], object), vectors=np.eye(2, 3))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        load_vectors(tmp_path / "v.npz")
    np.savez(tmp_path / "v.npz", words=np.frombuffer(b"a\nb\nc", np.uint8), vectors=np.eye(2, 3))
    with pytest.raises(ValueError, match="3 words and 2 vectors"):
        load_vectors(tmp_path / "v.npz")
    np.savez(tmp_path / "v.npz", words=np.frombuffer(b"a\nb", np.uint8), vectors=np.eye(2, 3), scale=np.float32(0.5))
    np.testing.assert_array_equal(load_vectors(tmp_path / "v.npz")["b"], [0, 0.5, 0])
