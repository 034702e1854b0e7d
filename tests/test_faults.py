"""What went wrong in real use, each as the program that showed it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minitl import gradcheck, initializers, losses, metrics, optimizers, regularizers, use_backend
from minitl import weights as weight_files
from minitl.kernels import fused, max_pool2d, updates
from minitl.kernels import pool as pools
from minitl.layers import Activation, BatchNormalization, Conv2D, Dense, Flatten, Input, MaxPooling2D, ReLU, Softmax
from minitl.models import Sequential
from minitl.ops import max_pool2d as max_pool2d_book

ROOT = Path(__file__).parent.parent


def run(program, **environment):
    return subprocess.run(
        [sys.executable, "-W", "always", "-c", program],
        capture_output=True, text=True, env={**os.environ, **environment}, cwd=ROOT, timeout=120,
    )  # fmt: skip


# Kernels that know addresses only.


@pytest.mark.parametrize("shape", [(), (1,), (7,)])
def test_a_compiled_step_refuses_a_slot_of_another_shape(shape):
    w = np.ones(70_000, np.float32)
    with pytest.raises(ValueError, match="expected an array of shape"):
        updates.Table([w], [[np.zeros(shape, np.float32)]])
    table = updates.Table([w], [[np.zeros_like(w)]])
    with pytest.raises(ValueError, match="expected an array of shape"):
        updates.sgd(table, [np.zeros(shape, np.float32)], 0.1, 0.0, 0.9, False)


@pytest.mark.parametrize("rule", ["adam", "rmsprop", optimizers.SGD(momentum=0.9)])
@pytest.mark.parametrize("value", [np.zeros(()), np.zeros(3), np.full((4, 2), np.nan)])
def test_optimizer_memory_that_does_not_fit_is_not_used(rule, value):
    optimizer, w = optimizers.get(rule), np.ones((4, 2), np.float32)
    optimizer.memory = {"dense/kernel": dict.fromkeys(optimizer.remembered, value)}
    optimizer.apply([("dense/kernel", w, np.ones_like(w))])
    fresh, other = optimizers.get(rule if isinstance(rule, str) else optimizers.SGD(momentum=0.9)), np.ones((4, 2), np.float32)
    fresh.apply([("dense/kernel", other, np.ones_like(w))])
    np.testing.assert_array_equal(w, other)


@pytest.mark.parametrize("height", [5, 6, 7])
@pytest.mark.parametrize("width", [4, 9])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
def test_a_1x1_convolution_in_front_of_a_pooling_that_drops_a_row(height, width, strides):
    generator = np.random.default_rng(0)
    x, kernel, bias = (generator.standard_normal(s) for s in ((3, height, width, 5), (1, 1, 5, 12), (12,)))
    y, cache = fused.forward(x, kernel, bias, strides, "valid", pool=True)
    dy = generator.standard_normal(y.shape)
    layers = [Conv2D(12, 1, strides, activation="relu"), MaxPooling2D()]
    with use_backend("numpy"):
        model = Sequential([Input(x.shape[1:]), *layers]).astype(np.float64)
        model.set_weights([kernel, bias])
        model.forward(x)
        dx = model.backward(dy)
        dkernel, dbias = layers[0].gradients["kernel"], layers[0].gradients["bias"]
    for ours, book in zip(fused.backward(dy, cache), (dx, dkernel, dbias), strict=True):
        np.testing.assert_allclose(ours, book, rtol=1e-10, atol=1e-12)


def test_a_window_of_more_elements_than_16_bits_can_number():
    x = np.zeros((1, 300, 300, 1), np.float32)
    x[0, 299, 299, 0] = 1
    for module in (max_pool2d, max_pool2d_book):
        y, cache = module.forward(x, (300, 300), (1, 1))
        dx = module.backward(np.ones_like(y), cache)
        assert dx[0, 299, 299, 0] == 1 and dx.sum() == 1


@pytest.mark.parametrize("fuse", [True, False])
def test_images_too_small_for_a_pooling(fuse, backend):
    model = Sequential([Input((None, None, 3)), Conv2D(8, 3, activation="relu"), MaxPooling2D()])
    model.fuse = fuse
    with pytest.raises(ValueError, match="a window of 2 does not fit into 1 elements"):
        model(np.zeros((2, 3, 9, 3), np.float32))
    with pytest.raises(ValueError, match="a window of 2 does not fit into 1 elements"):
        model(np.zeros((2, 9, 3, 3), np.float32))


# The compile cache.

DAMAGES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "one byte": lambda data: data[:1],
    "garbage": lambda data: os.urandom(len(data)),
    "garbage at the end": lambda data: data[:-40] + os.urandom(40),
    "text": lambda data: b"not a pickle\n",
}


ONE_KERNEL = "import numpy as np; from minitl.kernels import mean_squared_error as m; print(m.forward(*np.eye(2))[0])"


@pytest.fixture(scope="module")
def warm_cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    assert run(ONE_KERNEL, NUMBA_CACHE_DIR=str(folder)).stdout == "1.0\n"
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_damaged_compile_cache_heals(tmp_path, warm_cache, damage, kind):
    shutil.copytree(warm_cache, tmp_path, dirs_exist_ok=True)
    files = list(tmp_path.rglob(f"*.{kind}"))
    assert files
    for file in files:
        file.write_bytes(DAMAGES[damage](file.read_bytes()))
    for _ in range(2):
        result = run(ONE_KERNEL, NUMBA_CACHE_DIR=str(tmp_path))
        assert result.stdout == "1.0\n" and "Traceback" not in result.stderr, result.stderr


def test_nothing_is_left_behind_where_no_cache_can_be_written(tmp_path):
    blocked, temporary = tmp_path / "file", tmp_path / "tmp"
    blocked.write_text("not a folder")
    temporary.mkdir()
    program = "import numpy as np; from minitl.kernels import relu; print(relu.forward(np.array([-1.0, 2.0]))[0])"
    result = run(program, NUMBA_CACHE_DIR=str(blocked), XDG_CACHE_HOME=str(blocked), TMPDIR=str(temporary))
    assert result.stdout == "[0. 2.]\n", result.stderr
    assert not list(temporary.iterdir())


def test_a_cache_that_cannot_be_written_any_more_warns_once(tmp_path, monkeypatch):
    from minitl.kernels import jit

    monkeypatch.setattr(jit, "cache_folder", lambda: tmp_path)
    jit._warn_once.cache_clear()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jit.FunctionCache, "save_overload", full_disk)

    @jit.jit()
    def double(x):
        return 2 * x

    @jit.jit()
    def triple(x):
        return 3 * x

    with pytest.warns(RuntimeWarning, match="cannot be kept") as warned:
        assert (double(2), triple(2)) == (4, 6)
    assert len(warned) == 1


def test_an_edited_book_gives_another_cache(tmp_path):
    import shutil

    shutil.copytree(ROOT / "minitl", tmp_path / "minitl")
    hashes = []
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "-c", "from minitl.kernels import jit; print(jit.SOURCES_HASH)"],
            capture_output=True, text=True, cwd=tmp_path, check=True,
        )  # fmt: skip
        hashes.append(result.stdout)
        book = tmp_path / "minitl" / "ops" / "binary_cross_entropy.py"
        book.write_text(book.read_text().replace("EPSILON = 1e-7", "EPSILON = 1e-6"))
    assert hashes[0] != hashes[1]


def test_another_processor_has_another_cache(monkeypatch):
    from minitl.kernels import jit

    found = []
    for name in ("znver4", "skylake"):
        monkeypatch.setattr(jit.llvmlite.binding, "get_host_cpu_name", lambda name=name: name)
        found.append(jit._hash_sources())
    assert found[0] != found[1]


# Threads and processes.

FORKED = """
import multiprocessing
import numpy as np
import minitl
from minitl.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from minitl.models import Sequential

def train(seed):
    minitl.set_random_seed(seed)
    x, y = np.random.default_rng(0).standard_normal((64, 12, 12, 3)), np.arange(64) % 4
    model = Sequential([Input((12, 12, 3)), Conv2D(16, 3, activation="relu"), MaxPooling2D(), Flatten(), Dense(4, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model.fit(x, y, epochs=2, verbose=0).history["loss"]

if __name__ == "__main__":
    here = [train(seed) for seed in range(4)]
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(train, range(4), chunksize=1) == here, method
    assert [train(seed) for seed in range(4)] == here
    print("same")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_processes_forked_after_kernels_ran(tmp_path):
    program = tmp_path / "forked.py"
    program.write_text(FORKED)
    result = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert result.stdout == "same\n", result.stderr


def test_a_pool_of_more_threads_than_cores_and_launches_from_many_threads():
    program = """
import threading
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from minitl.kernels import matrix_product, relu
a = np.random.default_rng(0).standard_normal((70, 90)).astype(np.float32)
b = np.random.default_rng(1).standard_normal((90, 50)).astype(np.float32)
expected = matrix_product.multiply(a, b, np.zeros(50, np.float32))
def work(_):
    return all((matrix_product.multiply(a, b, np.zeros(50, np.float32)) == expected).all() for _ in range(400))
with ThreadPoolExecutor(6) as pool:
    print(all(pool.map(work, range(12))), sum(thread.name.startswith("kernels-") for thread in threading.enumerate()))
"""
    for threads in ("1", "2", "7"):
        assert run(program, NUMBA_NUM_THREADS=threads).stdout == f"True {int(threads) - 1}\n"


def test_threads_wait_awake_for_a_moment():
    """Between a processor of 500 MHz whose pauses take 140 cycles and one of 10 GHz whose pauses take one."""
    assert pools.AWAKE * 0.5e9 / 140 / 20 < pools.patience() < pools.AWAKE * 10e9  # the machine may be busy


def test_shapes_that_change_with_every_call_do_not_fill_the_memory():
    resource = pytest.importorskip("resource")
    model = Sequential([Input((None, None, 8)), Conv2D(8, 1, activation="relu"), Conv2D(8, 1)])
    peaks = []
    for height in range(200, 320):
        model.predict(np.zeros((1, height, 256, 8), np.float32), verbose=0)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    assert peaks[-1] - peaks[60] < 60  # MiB; it was ten times that


# The checker, on right targets.


@pytest.mark.parametrize("seed", range(40))
def test_a_softmax_of_large_logits_is_right(seed, backend):
    generator = np.random.default_rng(seed + (100 if backend == "numpy" else 0))
    x = generator.standard_normal((generator.integers(1, 6), generator.integers(2, 12))) * generator.choice([10, 30, 100])
    gradcheck.check_gradients(Softmax(), x, seed=seed).raise_if_wrong()


@pytest.mark.parametrize("seed", range(3))
def test_a_bias_in_front_of_a_normalisation_is_right(seed, backend):
    x = np.random.default_rng(seed).standard_normal((4, 7, 7, 3))
    block = [Conv2D(3, 3), BatchNormalization(), ReLU(), Conv2D(4, 3), BatchNormalization(), Activation("tanh")]
    gradcheck.check_gradients(Sequential(block[:2]), x, seed=seed).raise_if_wrong()
    gradcheck.check_gradients(Sequential([*block, Flatten(), Dense(3), BatchNormalization()]), x, seed=seed).raise_if_wrong()


# Losses, metrics, settings.


def test_predictions_that_do_not_sum_to_1_are_normalised(backend):
    p, labels = np.array([[0.1, 0.2, 0.3], [0.5, 1.5, 2.0]], np.float32), np.array([2, 1])
    expected = -(np.log(0.3 / 0.6) + np.log(1.5 / 4.0)) / 2
    assert losses.SparseCategoricalCrossentropy()(labels, p) == pytest.approx(expected, rel=1e-6)
    assert losses.CategoricalCrossentropy()(np.eye(3)[labels], p) == pytest.approx(expected, rel=1e-6)
    for loss, targets in (
        (losses.SparseCategoricalCrossentropy(), labels),
        (losses.CategoricalCrossentropy(), np.eye(3)[labels]),
    ):
        gradcheck.check_gradients(loss, p, y=targets).raise_if_wrong()


def test_nan_is_not_among_the_best():
    p = np.array([[np.nan, np.nan, np.nan], [0.5, np.nan, 0.1], [0.1, 0.8, 0.1]])
    for k, right in ((1, [0, 0, 1]), (2, [0, 1, 1]), (3, [0, 1, 1])):
        np.testing.assert_array_equal(metrics.TopKCategoricalAccuracy(k).values(np.array([0, 0, 1]), p), right)


def test_misspelt_settings_of_an_initializer():
    with pytest.raises(ValueError, match="unknown distribution 'unifrom'; did you mean 'uniform'"):
        initializers.VarianceScaling(distribution="unifrom")
    with pytest.raises(ValueError, match="unknown mode 'fan_inn'"):
        initializers.VarianceScaling(mode="fan_inn")
    with pytest.raises(ValueError, match=r"scale must be a number in \(0, inf\)"):
        initializers.VarianceScaling(scale=0)
    draw = initializers.VarianceScaling(2.0, distribution="untruncated_normal")((400, 500), np.random.default_rng(0))
    assert draw.std() == pytest.approx((2 / 400) ** 0.5, rel=0.01) and np.abs(draw).max() > 3 * draw.std()


def test_what_is_no_regularizer_or_initializer_is_refused():
    for wrong in (5, [1], 0.01):
        with pytest.raises(TypeError, match="a regularizer must be"):
            regularizers.get(wrong)
        with pytest.raises(TypeError, match="an initializer must be"):
            initializers.get(wrong)


# Files.


def test_saving_through_a_symbolic_link_keeps_the_link(tmp_path):
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    link.symlink_to(target)
    for value in (1.0, 2.0):
        weight_files.write(link, {"w": np.full(3, value)})
        assert link.is_symlink() and weight_files.read(target)[0]["w"][0] == value


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_a_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull), tmp_path):
        with pytest.raises(ValueError, match="no regular file"):
            weight_files.write(path, {"w": np.ones(3)})
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("key", ["../kernel", "a/../kernel", "/kernel", "a\\kernel", "a\0/kernel", "x" * 40_000 + "/kernel"])
def test_a_key_that_could_not_be_read_again_is_not_written(tmp_path, key):
    weight_files.write(tmp_path / "w.npz", {"w": np.ones(3)})
    before = (tmp_path / "w.npz").read_bytes()
    with pytest.raises(ValueError, match="is not a weight's name"):
        weight_files.write(tmp_path / "w.npz", {key: np.ones(3)})
    assert (tmp_path / "w.npz").read_bytes() == before


def test_what_a_killed_process_left_is_removed_by_the_next_save(tmp_path):
    program = f"""
import os, numpy as np
from minitl import weights
with weights.atomic_file({str(tmp_path / "w.npz")!r}) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), 9)
"""
    for _ in range(3):
        run(program)
    assert len(list(tmp_path.glob(".w.npz.*.part"))) == 1  # each removes what the one before it left
    with weight_files.atomic_file(tmp_path / "other.npz") as file:
        file.write(b"")
    weight_files.write(tmp_path / "w.npz", {"w": np.ones(3)})
    assert {p.name for p in tmp_path.iterdir()} == {"w.npz", "other.npz"}


def test_a_file_that_is_being_written_is_left_alone(tmp_path):
    with weight_files.atomic_file(tmp_path / "w.npz") as file:
        file.write(b"first")
        weight_files.write(tmp_path / "w.npz", {"w": np.ones(3)})
        assert len(list(tmp_path.glob(".w.npz.*.part"))) == 1
    assert (tmp_path / "w.npz").read_bytes() == b"first"


# Pictures.


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_among_the_pictures(tmp_path):
    from minitl.preprocessing.image import load_img

    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match="is no regular file"):
        load_img(tmp_path / "a.png")


def test_other_formats_under_a_picture_s_name_reach_no_decoder(tmp_path):
    from minitl.preprocessing.image import load_img

    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        load_img(tmp_path / "a.png")


def test_a_small_file_of_a_huge_picture(tmp_path):
    from PIL import Image

    from minitl.preprocessing.image import load_img

    Image.new("L", (1, 20_000_000)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 100_000
    with pytest.raises(ValueError, match="pixels are too many"):
        load_img(tmp_path / "a.png")


def test_pretraining_into_a_new_folder_fails_before_the_work_or_not_at_all(tmp_path):
    from minitl.applications.pretrain import pretrain

    (tmp_path / "letters.npz").mkdir()
    with pytest.raises(ValueError, match="no regular file"):
        pretrain("letters", tmp_path)
    pretrain("letters", tmp_path / "new" / "folder", epochs=1, samples=60)
    assert (tmp_path / "new" / "folder" / "letters.npz").is_file()


def test_a_backend_that_does_not_exist_is_named_with_the_variable_that_asks_for_it():
    result = run("import minitl.backend; minitl.backend.op('dense')", MINITL_BACKEND="numpyy")
    assert "backend (from MINITL_BACKEND)" in result.stderr and "did you mean 'numpy'" in result.stderr
