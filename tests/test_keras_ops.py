"""Functions where Keras 3 has them: `ops`, `random`, activations of values; and layers whose call gives several outputs."""

import subprocess
import sys

import numpy as np
import pytest

from minitl import Input, Model, activations, backend, ops, random, rare_activations
from minitl.autodiff import Traced, gradients
from minitl.gradcheck import check_gradients
from minitl.layers import Activation, Dense, Layer
from minitl.models import Sequential, load_model

X = np.random.default_rng(0).normal(size=(4, 6))


@pytest.mark.parametrize(
    "program",
    [
        "from minitl.ops import add; assert add.forward",
        "from minitl import ops; assert ops.add.forward; assert ops.add([1.0], [2.0])[0] == 3",
        "import minitl.ops.conv2d as book; from minitl.ops import conv2d; assert book is conv2d and book.forward",
        "from minitl.ops import mean, add; assert mean([1.0, 3.0]) == 2 and add.backward",
        "import importlib, minitl; assert importlib.import_module('minitl.ops.relu').forward; assert minitl.ops.relu(-1.0) == 0",
        "import minitl.ops.relu, sys; assert sys.modules['minitl.ops.relu'] is minitl.ops.relu",
    ],
)
def test_the_book_is_the_book_in_whatever_order_it_is_imported(program):
    subprocess.run([sys.executable, "-c", program], check=True)


def test_keras_s_functions_are_found_in_ops():
    np.testing.assert_allclose(ops.relu(X), np.maximum(X, 0), atol=1e-12)
    np.testing.assert_allclose(ops.nn.softmax(X), ops.softmax(X))
    np.testing.assert_allclose(ops.softmax(X, axis=0).sum(axis=0), 1)
    assert ops.concatenate([X, X], axis=0).shape == (8, 6) and ops.numpy.sum(X) == pytest.approx(X.sum())
    assert ops.maximum(X, 0).min() == 0 and ops.matmul(X, X.T).shape == (4, 4) and ops.shape(X) == (4, 6)
    np.testing.assert_allclose(ops.einsum("ab,cb->ac", X, X), X @ X.T)
    with pytest.raises(AttributeError, match=r"minitl\.ops has no operation 'fft'"):
        ops.fft(X)
    with pytest.raises(AttributeError, match=r"'minitl\.ops' has no attribute '_nothing'"):
        ops._nothing  # noqa: B018


SHARES, LABELS = np.random.default_rng(1).uniform(0.1, 0.9, (3, 4)).astype(np.float32), np.array([0, 2, 3])
SCORES = np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32)
IMAGES, STEPS, KERNEL = (
    np.random.default_rng(3).normal(size=shape).astype(np.float32) for shape in ((2, 7, 6, 4), (2, 8, 4), (3, 2, 4, 6))
)
HEADS = tuple(np.random.default_rng(4).normal(size=(2, steps, 2, 3)).astype(np.float32) for steps in (4, 5, 5))
PLACES, CELLS, SQUARE = np.array([0, 2, 2]), np.array([[0, 1], [2, 3], [2, 0]]), np.float32([[2, 1, 0], [1, 3, 1], [0, 1, 4]])
MAY_LOOK = np.tri(4, 5, 1, dtype=bool)[None, None]
CALLS = [
    ("divide_no_nan", (SHARES, np.float32([[0, 1, 2, 0]])), {}), ("erf", (SCORES,), {}),
    ("slice", (SHARES, (1, 0), (2, 3)), {}), ("arcsinh", (SCORES,), {}), ("arctanh", (SHARES,), {}),
    ("arccosh", (SHARES + 1,), {}),
    ("vstack", ([SHARES, SCORES],), {}), ("hstack", ([SHARES, SCORES],), {}), ("diag", (LABELS,), {}), ("trace", (SHARES,), {}),
    ("bincount", (LABELS,), {}), ("median", (SHARES,), {"axis": 1}), ("quantile", (SHARES, 0.3), {"axis": 0}),
    ("isclose", (SHARES, SHARES), {}), ("logical_xor", (SHARES > 0.5, SCORES > 0), {}), ("diff", (SHARES,), {}),
    ("digitize", (SHARES, np.float32([0.3, 0.6])), {}), ("nan_to_num", (np.float32([np.nan, 1]),), {}), ("rot90", (SHARES,), {}),
    ("searchsorted", (np.sort(SHARES[0]), SHARES[1]), {}), ("inner", (SHARES[0], SHARES[1]), {}), ("hypot", (SHARES, SCORES), {}),
    ("concatenate", ([SHARES, SCORES],), {}), ("concatenate", ([SHARES, SCORES],), {"axis": 1}), ("argmax", (SHARES,), {}),
    ("argmax", (SHARES,), {"axis": -1, "keepdims": True}), ("argmin", (SHARES,), {"axis": 0}), ("expand_dims", (SHARES, 1), {}),
    ("clip", (SHARES,), {"x_min": 0.2, "x_max": 0.5}), ("cumsum", (SHARES,), {}), ("cumsum", (SHARES,), {"axis": 1}),
    ("gelu", (SCORES,), {}), ("gelu", (SCORES,), {"approximate": False}), ("in_top_k", (LABELS, SHARES, 2), {}),
    ("log_sigmoid", (SCORES,), {}), ("log_softmax", (SCORES,), {}), ("log_softmax", (SCORES,), {"axis": 0}),
    ("mod", (SCORES, 0.5), {}), ("moments", (SHARES,), {"axes": [0]}), ("moments", (SHARES,), {"axes": 1, "keepdims": True}),
    ("multi_hot", (np.array([[0, 2], [1, 1]]), 4), {}), ("normalize", (SCORES,), {}),
    ("normalize", (SCORES,), {"axis": 0, "order": 1}), ("one_hot", (LABELS, 5), {}), ("one_hot", (LABELS, 5), {"axis": 0}),
    ("one_hot", (np.stack([LABELS, LABELS[::-1]]), 5), {}),
    ("one_hot", (LABELS,), {"num_classes": 5, "dtype": "int32"}), ("outer", (LABELS, LABELS), {}), ("repeat", (SHARES, 2), {}),
    ("repeat", (SHARES, 2), {"axis": 1}), ("reshape", (SHARES,), {"newshape": (2, 6)}), ("rsqrt", (SHARES,), {}),
    ("softsign", (SCORES,), {}), ("sort", (SHARES,), {}), ("sort", (SHARES,), {"axis": 0}), ("split", (SHARES, 2), {"axis": 1}),
    ("split", (SHARES, [1]), {}), ("top_k", (SHARES, 2), {}), ("tril", (SHARES,), {}), ("triu", (SHARES,), {"k": 1}),
    ("pad", (SHARES, ((0, 0), (1, 2))), {}), ("pad", (SHARES, ((1, 0), (1, 1)), "reflect"), {}),
    ("pad", (SHARES[None], ((0, 0), (1, 0), (0, 2))), {"constant_values": 3.0}),
    ("conv", (IMAGES, KERNEL), {}), ("conv", (IMAGES, KERNEL), {"strides": 2, "padding": "same"}),
    ("conv", (IMAGES, KERNEL), {"dilation_rate": 2}), ("conv", (IMAGES, KERNEL[:, :, :2]), {"strides": (2, 1)}),
    ("conv", (STEPS, KERNEL[0]), {"strides": 2}), ("depthwise_conv", (IMAGES, KERNEL[..., :2]), {"padding": "same"}),
    ("separable_conv", (IMAGES, KERNEL[..., :1], KERNEL[:1, :1]), {}), ("max_pool", (IMAGES, 2), {}),
    ("max_pool", (IMAGES, (3, 2)), {"strides": 1, "padding": "same"}), ("max_pool", (STEPS, 2), {}),
    ("average_pool", (IMAGES, 3), {"strides": (2, 1)}),
    ("conv_transpose", (IMAGES, KERNEL.transpose(0, 1, 3, 2)), {"strides": 2}),
    ("segment_sum", (SCORES, PLACES), {}), ("segment_sum", (SCORES, PLACES), {"num_segments": 5}),
    ("segment_max", (SCORES, PLACES), {"num_segments": 3}), ("segment_min", (SCORES, PLACES), {"num_segments": 3}),
    ("scatter", (PLACES[:, None], SCORES, (4, 4)), {}), ("scatter", (CELLS, SCORES[0, :3], (3, 4)), {}),
    ("scatter_update", (SHARES, CELLS, SCORES[0, :3]), {}), ("slice_update", (SHARES, (1, 2), SCORES[:2, :2]), {}),
    ("dot_product_attention", HEADS, {}), ("dot_product_attention", HEADS, {"scale": 0.3, "mask": MAY_LOOK}),
    ("dot_product_attention", (HEADS[1], *HEADS[1:]), {"is_causal": True}),
    ("dot_product_attention", HEADS, {"bias": np.float32(MAY_LOOK) * 2}), ("glu", (SCORES,), {}), ("glu", (SHARES,), {"axis": 1}),
    ("layer_normalization", (SCORES,), {}), ("layer_normalization", (SCORES, SHARES[0], SCORES[0]), {"epsilon": 0.1}),
    ("rms_normalization", (SCORES,), {}), ("rms_normalization", (SCORES, SHARES[0]), {"axis": -1, "epsilon": 0.1}),
    ("batch_normalization", (SCORES, SHARES[0], SHARES[1], -1), {}),
    ("batch_normalization", (SCORES, SHARES[0], SHARES[1], 1, SCORES[1], SCORES[2], 0.1), {}),
    ("threshold", (SCORES, 0.1, -7.0), {}),
    ("depth_to_space", (IMAGES, 2), {}), ("space_to_depth", (IMAGES[:, :6], 2), {}), ("erfc", (SCORES,), {}),
    ("logaddexp2", (SCORES, SHARES), {}), ("dstack", ([SHARES, SCORES],), {}), ("hsplit", (SHARES, 2), {}),
    ("nanargmax", (SHARES,), {"axis": 1}), ("inv", (SQUARE,), {}), ("det", (SQUARE,), {}), ("solve", (SQUARE, SCORES[:, 0]), {}),
    ("scan", (lambda carry, x: (carry + x, carry * x), SHARES[0], SCORES), {}),
    ("scan", (lambda carry, x: (carry + x, carry * x), SHARES[0], SCORES), {"reverse": True}),
    ("map", (lambda x: x * x, SCORES), {}),
    ("fori_loop", (1, 4, lambda i, x: x * i, SCORES), {}),
    ("while_loop", (lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (0, SCORES)), {}),
    ("while_loop", (lambda x: x.sum() < 1e9, lambda x: x * 2, SHARES), {"maximum_iterations": 3}),
    ("cond", (True, lambda: SCORES, lambda: SHARES), {}), ("cond", (False, lambda: SCORES, lambda: SHARES), {}),
    ("zeros", ((2, 3),), {}), ("ones", ((2, 3),), {"dtype": "int32"}), ("eye", (3,), {}), ("logsumexp", (SCORES,), {"axis": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "settings"), CALLS, ids=[f"{i}-{call[0]}" for i, call in enumerate(CALLS)])
def test_functions_of_ops_are_keras_s(name, arguments, settings):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    ours, theirs = getattr(ops, name)(*arguments, **settings), getattr(keras.ops, name)(*arguments, **settings)
    for a, b in zip(*([y] if not isinstance(y, (list, tuple)) else y for y in (ours, theirs)), strict=True):
        b = np.asarray(keras.ops.convert_to_numpy(b))
        assert np.shape(a) == b.shape
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
        assert np.asarray(a).dtype.kind == b.dtype.kind and (b.dtype.kind != "f" or a.dtype == np.float32)


PICTURES = [
    ("extract_patches", (IMAGES, 3), {}), ("extract_patches", (IMAGES, (3, 2)), {"strides": (2, 1)}),
    ("extract_patches", (IMAGES, 2), {"padding": "same"}),
    ("extract_patches", (IMAGES, (2, 3)), {"strides": 1, "dilation_rate": 2}),
    ("extract_patches", (IMAGES[:, :6], 3), {"padding": "same"}), ("extract_patches", (IMAGES[0], 2), {}),
    ("resize", (IMAGES, (4, 9)), {}), ("resize", (IMAGES, (10, 3)), {"interpolation": "nearest"}),
    ("resize", (IMAGES[0], (5, 5)), {}), ("resize", (IMAGES, (4, 4)), {"crop_to_aspect_ratio": True}),
    ("rgb_to_grayscale", (IMAGES[..., :3],), {}),
    ("crop_images", (IMAGES,), {"top_cropping": 1, "left_cropping": 2, "target_height": 4, "target_width": 3}),
    ("crop_images", (IMAGES,), {"top_cropping": 1, "left_cropping": 0, "bottom_cropping": 2, "right_cropping": 1}),
    ("pad_images", (IMAGES,), {"top_padding": 1, "left_padding": 2, "target_height": 9, "target_width": 12}),
    ("pad_images", (IMAGES[0],), {"top_padding": 0, "left_padding": 1, "bottom_padding": 2, "right_padding": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "settings"), PICTURES, ids=[f"{i}-{call[0]}" for i, call in enumerate(PICTURES)])
def test_functions_of_images_are_keras_s_and_have_gradients(name, arguments, settings):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    function, x = getattr(ops.image, name), arguments[0]
    y = function(*arguments, **settings)
    theirs = getattr(keras.ops.image, name)(*arguments, **settings)
    np.testing.assert_allclose(y, keras.ops.convert_to_numpy(theirs), rtol=2e-5, atol=1e-5)
    if x.ndim < 4:
        return

    class Called(Layer):
        def call(self, x):
            return function(x, *arguments[1:], **settings)

    assert check_gradients(Called(), x).ok
    inputs = Input(x.shape[1:])
    named = {"images": inputs} if len(arguments) == 1 else {"images": inputs, "size": arguments[1]}
    as_value = Model(inputs, function(**named, **settings))
    np.testing.assert_allclose(as_value.predict(x, verbose=0), y, atol=1e-5)


def test_what_functions_of_images_refuse():
    smooth = ops.image.resize(IMAGES, (3, 3), antialias=True)
    assert smooth.shape[1:3] == (3, 3) and not np.allclose(smooth, ops.image.resize(IMAGES, (3, 3)))
    with pytest.raises(ValueError, match="takes channels last"):
        ops.image.extract_patches(IMAGES, 2, data_format="channels_first")
    assert ops.image.resize(IMAGES, (4, 4), crop_to_aspect_ratio=True).shape == (2, 4, 4, 4)


def test_a_weight_in_a_call_is_a_tensor_already():
    class Scaled(Layer):
        def build(self, input_shape):
            self.scale = self.add_weight("scale", (input_shape[-1],), "ones")

        def call(self, x):
            return x * ops.convert_to_tensor(self.scale) + ops.convert_to_tensor(x, dtype=x.dtype)

    assert check_gradients(Scaled(), SCORES).ok
    assert ops.convert_to_tensor([1, 2], dtype="float32").dtype == np.float32
    x = Input((4,))
    assert ops.convert_to_tensor(x) is x


OF_SCORES = {
    "threshold": lambda x: ops.threshold(x, 0.1, 2.0), "sparsemax": lambda x: ops.sparsemax(x), "glu": lambda x: ops.glu(x),
    "layer_normalization": lambda x: ops.layer_normalization(x, epsilon=0.1),
    "rms_normalization": lambda x: ops.rms_normalization(x, epsilon=0.1),
    "attention": lambda x: ops.dot_product_attention(*[x[:, None, None] * x[:, :, None, None]] * 3)[:, 0, 0],
    "depth_to_space": lambda x: ops.depth_to_space(x[:, None, None], 2)[:, :, 0, 0],
    "space_to_depth": lambda x: ops.space_to_depth(np.reshape(x, (-1, 2, 2, 1)), 2)[:, 0, 0],
    "divide_no_nan": lambda x: ops.divide_no_nan(x, x * x + 1), "unstack": lambda x: ops.unstack(x, axis=1)[2][:, None],
    "arcsinh": lambda x: np.arcsinh(x), "arctanh": lambda x: np.arctanh(x / 9), "arccosh": lambda x: np.arccosh(x * x + 2),
    **{name: (lambda x, name=name: getattr(ops, name)(x + 0.01)) for name in rare_activations.NAMED},
    "normalize": lambda x: ops.normalize(x), "moments": lambda x: ops.moments(x, axes=1, keepdims=True)[1],
    "split": lambda x: ops.split(x, 2, axis=-1)[1], "sort": lambda x: ops.sort(x),
    "tril": lambda x: ops.tril(x[:, None] * x[:, :, None]),
    "triu": lambda x: ops.triu(x[:, None] * x[:, :, None]), "softsign": lambda x: ops.softsign(x),
    "log_sigmoid": lambda x: ops.log_sigmoid(x), "log_softmax": lambda x: ops.log_softmax(x), "gelu": lambda x: ops.gelu(x),
    "rsqrt": lambda x: ops.rsqrt(x**2 + 1), "pad": lambda x: ops.pad(x, ((0, 0), (1, 2)), constant_values=0.5),
    "mod": lambda x: ops.mod(x, 0.7),
    "concatenate": lambda x: ops.concatenate([x, x * x], axis=-1),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_SCORES)
def test_they_work_on_values_and_inside_a_call(name):
    class Called(Layer):
        def call(self, x):
            return OF_SCORES[name](x)

    x = Input((4,))
    assert check_gradients(Called(), SCORES).ok
    np.testing.assert_allclose(Model(x, OF_SCORES[name](x)).predict(SCORES), OF_SCORES[name](SCORES), rtol=1e-5, atol=1e-6)


@ops.custom_gradient
def twice_as_steep(x, y):
    return x * y, lambda upstream: (2 * upstream * y, 2 * upstream * x)


OF_ALL_ROWS = {
    "segment_sum": lambda x: ops.segment_sum(x * x, PLACES, 4), "erfc": ops.erfc,
    "segment_max": lambda x: ops.segment_max(x, PLACES), "segment_min": lambda x: ops.segment_min(x * x, PLACES),
    "scatter": lambda x: ops.scatter(CELLS, x[0, :3], (3, 4)) * x,
    "scatter_update": lambda x: ops.scatter_update(x * x, CELLS, x[1, :3]),
    "slice_update": lambda x: ops.slice_update(x * x, (1, 0), x[:2, 1:3]), "map": lambda x: ops.map(lambda row: row * row[0], x),
    "fori_loop": lambda x: ops.fori_loop(0, 3, lambda i, y: y * x + i, x),
    "scan": lambda x: ops.scan(_product_and_sum, x[0], x)[1],
}  # fmt: skip


def _product_and_sum(carry, x):
    return carry * x, carry + x * x


@pytest.mark.parametrize("name", OF_ALL_ROWS)
def test_what_concerns_all_rows_has_the_gradient_of_differences(name):
    x, step = SCORES.astype(np.float64), 1e-6
    traced = Traced(x)
    y = OF_ALL_ROWS[name](traced)
    dy = np.random.default_rng(5).normal(size=y.shape)
    dx = gradients(y, [traced], dy)[0]
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place], down[place] = x[place] + step, x[place] - step
        with np.errstate(invalid="ignore"):  # of segments without rows, which hold no number
            slope = np.nansum((OF_ALL_ROWS[name](up) - OF_ALL_ROWS[name](down)) * dy) / (2 * step)
        assert dx[place] == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_a_tie_shares_the_gradient_of_a_segment_s_largest():
    x = Traced(np.array([2.0, 2.0, 1.0]))
    assert gradients(ops.segment_max(x, [0, 0, 0]), [x], np.ones(1))[0].tolist() == [0.5, 0.5, 0]


def test_a_function_brings_its_own_gradient():
    a, b = Traced(np.array([1.0, 2.0])), Traced(np.array([3.0, 5.0]))
    y = twice_as_steep(a, b)
    assert y.value.tolist() == [3, 10]
    da, db = gradients(y, [a, b], np.array([1.0, 10.0]))
    assert da.tolist() == [6, 100] and db.tolist() == [2, 40]
    assert twice_as_steep(a.value, b.value).tolist() == [3, 10]
    only = gradients(twice_as_steep(a.value, b), [b], np.ones(2))
    assert only[0].tolist() == [2, 4]
    x = Input((4,))
    np.testing.assert_allclose(Model(x, twice_as_steep(x, 3.0)).predict(SCORES, verbose=0), 3 * SCORES, rtol=1e-6)


def test_what_is_little_of_the_error_function_is_kept():
    assert ops.erfc(np.float32([5.0]))[0] == pytest.approx(1.537e-12, rel=1e-3)


def test_segments_are_of_arrays_and_updates_of_values_too():
    x = Input((4,))
    for function in (ops.segment_sum, ops.segment_max, ops.segment_min):
        with pytest.raises(TypeError):
            function(x, PLACES)
    updated = Model(x, ops.slice_update(x, (0, 1), np.ones((1, 2), np.float32))).predict(SCORES, verbose=0)
    np.testing.assert_array_equal(updated, ops.slice_update(SCORES, (0, 1), np.ones((1, 2), np.float32)))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_sparsemax_is_the_nearest_of_all_probabilities(axis):
    y = ops.sparsemax(SCORES * 3, axis)
    np.testing.assert_allclose(y.sum(axis=axis), 1, rtol=1e-6)
    assert (y == 0).any() and (y >= 0).all()
    apart = SCORES * 3 - y  # the same wherever y is above zero, and less elsewhere
    level = np.max(apart, axis=axis, keepdims=True)
    np.testing.assert_allclose(np.where(y > 0, apart, level), np.broadcast_to(level, y.shape), atol=1e-6)


def test_loops_over_several_arrays():
    both = ops.vectorized_map(lambda pair: (pair[0] + pair[1], pair[1].sum()), (SHARES, SCORES))
    np.testing.assert_array_equal(both[0], SHARES + SCORES)
    np.testing.assert_allclose(both[1], SCORES.sum(axis=1))
    last, made = ops.scan(lambda carry, x: (carry + 1, None), 0, length=3)
    assert last == 3 and made is None
    last, made = ops.scan(lambda carry, x: (x[0], x[1] - carry), SHARES[0], [SHARES, SCORES])
    np.testing.assert_array_equal(made[1:], SCORES[1:] - SHARES[:-1])
    assert (last == SHARES[-1]).all()


def test_what_is_a_tensor():
    assert ops.is_tensor(SCORES) and ops.is_tensor(Traced(SCORES)) and ops.is_tensor(Input((3,)))
    assert not ops.is_tensor([1.0]) and ops.dtype(SCORES) == "float32" and ops.linalg.inv is np.linalg.inv


def test_the_padding_of_values_is_one_number_and_keeps_the_batch():
    x = Input((3,))
    for wrong in (1, ((1, 0), (0, 0)), ((0, 0),)):
        with pytest.raises(ValueError, match="pad: adds one number around, along all axes but the first"):
            ops.pad(x, wrong)
    with pytest.raises(ValueError, match="got 'reflect'"):
        ops.pad(x, ((0, 0), (1, 1)), "reflect")
    assert Model(x, ops.pad(x, ((0, 0), (1, 0))))(np.array([[np.nan, 1, np.inf]]))[0, 0] == 0


def test_the_backend_s_functions_have_the_backend_s_defaults():
    assert backend.argmax(SHARES).tolist() == SHARES.argmax(axis=-1).tolist()
    assert backend.argmin(SHARES).tolist() == SHARES.argmin(axis=-1).tolist()
    assert np.array_equal(backend.cumsum(SHARES), SHARES.cumsum(axis=0))
    assert np.array_equal(backend.repeat(SHARES, 2), SHARES[:, None].repeat(2, axis=1))
    made = (
        backend.zeros((2, 3)),
        backend.ones((2, 3)),
        backend.eye(2),
        backend.constant(2.5, shape=(2, 2)),
        backend.constant([1, 2]),
    )
    assert all(array.dtype == np.float32 for array in made) and made[3].tolist() == [[2.5, 2.5]] * 2
    assert np.array_equal(made[2], np.eye(2)) and backend.eye((2, 3)).shape == (2, 3) and not made[0].any() and made[1].all()
    assert backend.concatenate([SHARES, SHARES]).shape == (3, 8)  # the last axis, where keras.ops has the first
    with pytest.raises(ValueError, match="an axis of 3 has no 2 parts of one size"):
        ops.split(SHARES, 2)


def test_keras_s_random_numbers():
    seeds = random.SeedGenerator(3)
    a, b = random.normal((500,), mean=2.0, seed=seeds), random.normal((500,), mean=2.0, seed=seeds)
    assert (a != b).all() and abs(a.mean() - 2) < 0.2 and a.dtype == np.float32
    np.testing.assert_array_equal(a, random.normal((500,), mean=2.0, seed=random.SeedGenerator(3)))
    np.testing.assert_array_equal(random.uniform((9,), -1, 1, seed=4), random.uniform((9,), -1, 1, seed=4))
    assert np.abs(random.truncated_normal((900,), seed=1)).max() <= 2
    assert set(random.randint((90,), 2, 5, seed=1)) == {2, 3, 4}
    assert sorted(random.shuffle(np.arange(9), seed=1)) == list(range(9))
    dropped = random.dropout(np.ones((1000,), np.float32), 0.25, seed=1)
    assert set(np.unique(dropped)) == {0, np.float32(1 / 0.75)} and abs(dropped.mean() - 1) < 0.1
    random.set_random_seed(1)
    first = random.normal((3,))
    random.set_random_seed(1)
    np.testing.assert_array_equal(first, random.normal((3,)))
    assert random.SeedGenerator(5).next() == random.SeedGenerator(5).next()
    drawn = [seeds.next() for _ in range(100)]
    assert 2**30 < max(drawn) < 2**31 and min(drawn) >= 0
    normal, truncated = random.normal((20000,), seed=1), random.truncated_normal((20000,), seed=1)
    assert normal.std() == pytest.approx(1, rel=0.03) and truncated.std() == pytest.approx(0.88, rel=0.03)
    assert abs(normal.mean()) < 0.03 and abs(truncated.mean()) < 0.03
    uniform = random.uniform((20000,), seed=1)
    assert uniform.min() < 0.01 and uniform.max() > 0.99 and uniform.mean() == pytest.approx(0.5, rel=0.03)
    with pytest.raises(AttributeError, match="has no attribute 'gamma'"):
        random.gamma((3,))


@pytest.mark.parametrize("name", sorted(activations.NAMED))
def test_activations_of_values_are_parts_of_the_network(name, backend, tmp_path):
    x = Input((6,), dtype="float64")
    function = getattr(activations, name)
    model = Model(x, function(Dense(5, dtype="float64")(x)))
    hidden = Model(x, model.layers[1].output)
    np.testing.assert_allclose(model.predict(X, verbose=0), function(hidden.predict(X, verbose=0)), atol=1e-12)
    assert check_gradients(model, X).ok
    model.save(tmp_path / "model.npz")
    np.testing.assert_array_equal(load_model(tmp_path / "model.npz").predict(X, verbose=0), model.predict(X, verbose=0))


def test_settings_of_activations_of_values():
    x = Input((6,))
    y = activations.relu(x, negative_slope=0.1, max_value=1.0)
    np.testing.assert_allclose(Model(x, y).predict(X, verbose=0), activations.relu(X, 0.1, 1.0), atol=1e-6)
    y = Model(x, activations.softmax(x, axis=0)).predict(X, verbose=0)
    np.testing.assert_allclose(y.sum(axis=0), 1, atol=1e-6)


class Halves(Layer):
    """A call with two outputs, of which one depends on a weight."""

    def build(self, shape):
        self.scale = self.add_weight("scale", (shape[-1] // 2,), "ones")

    def call(self, x):
        half = x.shape[-1] // 2
        return x[:, :half] * self.scale, np.tanh(x[:, half:])


class Outer(Layer):
    """Uses such a layer inside its own call, and gives three."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.halves, self.last = Halves(), Dense(2)

    def call(self, x):
        a, b = self.halves(x)
        return a * b, self.last(b), a


@pytest.mark.parametrize("used", [(0,), (1,), (0, 1)])
def test_a_call_may_give_several_outputs(used, backend, tmp_path):
    x = Input((6,))
    y = Halves()(Dense(6, activation="tanh")(x))
    model = Model(x, [y[k] for k in used])
    model.compile("sgd", "mse")
    targets = [X[:, 3 * k : 3 * k + 3] for k in used]
    report = check_gradients(model, X, targets if len(used) > 1 else targets[0])
    assert report.ok, report
    model.fit(X, targets if len(used) > 1 else targets[0], epochs=1, verbose=0)
    model.save(tmp_path / "model.npz")
    again = load_model(tmp_path / "model.npz", custom_objects={"Halves": Halves})
    for a, b in zip(model.predict_on_batch(X), again.predict_on_batch(X), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("used", [(0,), (1,), (2,), (0, 1, 2)])
def test_layers_inside_a_call_may_give_several_outputs(used):
    x = Input((6,))
    y = Outer()(Dense(6)(x))
    model = Model(x, [y[k] for k in used])
    model.compile("sgd", "mse")
    targets = [np.random.default_rng(k).normal(size=(4, (3, 2, 3)[k])) for k in used]
    report = check_gradients(model, X, targets if len(used) > 1 else targets[0])
    assert report.ok, report
    assert [a.shape for a in Outer()(X)] == [(4, 3), (4, 2), (4, 3)]


def test_what_a_layer_inside_adds_to_the_loss_is_counted():
    class Inner(Layer):
        def call(self, x):
            self.add_loss(np.mean(np.square(x)))
            return x * 1.0

    class Around(Layer):
        def __init__(self):
            super().__init__()
            self.first, self.inner = Dense(3), Inner()

        def call(self, x):
            return self.inner(self.first(x))

    x = Input((6,))
    layer = Around()
    model = Model(x, layer(x))
    model.compile("sgd", "mse")
    p = model.predict(X, verbose=0)
    assert model.evaluate(X, p, verbose=0) == pytest.approx((p**2).mean(), rel=1e-5)
    assert check_gradients(model, X, X[:, :3]).ok
    model.compile("sgd")
    with pytest.raises(ValueError, match="what it adds to the loss inside another layer is not learnt by itself"):
        model.train_on_batch(X)


def test_a_last_axis_of_length_one_is_put_in_or_left_out():
    images = Input((5, 6, 1))
    model = Model(images, Dense(2)(images))
    batch = np.random.default_rng(0).random((3, 5, 6))
    np.testing.assert_array_equal(model.predict(batch, verbose=0), model.predict(batch[..., None], verbose=0))
    sequences = Input((7,))
    model = Model(sequences, Dense(2)(sequences))
    rows = np.random.default_rng(0).random((3, 7))
    np.testing.assert_array_equal(model.predict(rows, verbose=0), model.predict(rows[..., None], verbose=0))
    with pytest.raises(ValueError, match="expected shape"):
        model.predict(rows[..., None, None], verbose=0)
    single = Input((1,))
    model = Model(single, Dense(1)(single))
    assert model.predict(np.arange(4.0), verbose=0).shape == (4, 1)


@pytest.mark.parametrize("name", sorted(rare_activations.NAMED.keys() - {"keras2_hard_sigmoid", "sparsemax"}))
def test_rare_activations_are_keras_s(name, tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    far = np.concatenate([np.linspace(-120, 120, 41), X.ravel()])[None].astype(np.float32)
    theirs = keras.ops.convert_to_numpy(getattr(keras.activations, name)(far))
    np.testing.assert_allclose(getattr(activations, name)(far), theirs, rtol=1e-5, atol=1e-5)
    assert activations.get(name) is getattr(activations, name)
    model = Sequential([Input((6,)), Dense(5, activation=name), Activation(getattr(activations, name))])
    model.save(str(tmp_path / "m.keras"))
    x = X.astype(np.float32)
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "m.keras").predict(x, verbose=0), model(x), atol=1e-5)
    again = load_model(str(tmp_path / "m.keras"))
    assert again.layers[-1].activation == name
    np.testing.assert_array_equal(again(x), model(x))


def test_gradients_of_erf_and_of_a_block():
    class Both(Layer):
        def call(self, x):
            return ops.erf(x)[:, :2] * ops.slice(x, (0, 3), (x.shape[0], 2))

    assert check_gradients(Both(dtype="float64"), X)


class Windows(Layer):
    """Kernels of its own, in functions."""

    def __init__(self, call, **kernels):
        super().__init__()
        self.function, self.shapes = call, kernels

    def build(self, input_shape):
        self.kernels = {name: self.add_weight(name, shape, "glorot_uniform") for name, shape in self.shapes.items()}

    def call(self, x):
        return self.function(x, *(getattr(self, name) for name in self.shapes))


WINDOWS = {
    "conv": (lambda x, k: ops.conv(x, k, strides=2, padding="same"), IMAGES, {"a": (3, 2, 4, 3)}),
    "groups": (lambda x, k: backend.conv2d(x, k, (1, 2), "valid", None, (1, 1)), IMAGES, {"a": (3, 2, 2, 4)}),
    "steps, causal": (lambda x, k: backend.conv1d(x, k, padding="causal", dilation_rate=2), STEPS, {"a": (3, 4, 2)}),
    "depthwise": (lambda x, k: backend.depthwise_conv2d(x, k), IMAGES, {"a": (2, 2, 4, 2)}),
    "separable": (lambda x, k, p: backend.separable_conv2d(x, k, p, 2), IMAGES, {"a": (2, 2, 4, 2), "b": (1, 1, 8, 3)}),
    "transposed": (lambda x, k: backend.conv2d_transpose(x, k, None, (2, 2)), IMAGES, {"a": (3, 3, 2, 4)}),
    "transposed and more": (
        lambda x, k: backend.conv2d_transpose(x, k, (None, 12, 11, 2), (2, 2)),
        IMAGES[:, :5, :5],
        {"a": (3, 3, 2, 4)},
    ),
    "transposed steps": (lambda x, k: ops.conv_transpose(x, k, 3, "same", 1), STEPS, {"a": (3, 2, 4)}),
    "pools": (lambda x, w: ops.average_pool(w * ops.max_pool(x, 2, 1), (3, 1), padding="same"), IMAGES, {"a": (4,)}),
    "pool of steps": (lambda x, w: w * ops.average_pool(x, 3, 2), STEPS, {"a": (4,)}),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_convolutions_and_pools_in_a_call(name):
    call, x, kernels = WINDOWS[name]
    assert check_gradients(Windows(call, **kernels), x).ok
    whole = Windows(call, **kernels)
    y = whole(x)
    inputs = Input(x.shape[1:])
    kernels_alone = [np.array(weight) for weight in whole.get_weights()]
    as_value = Model(inputs, call(inputs, *kernels_alone))
    np.testing.assert_allclose(as_value.predict(x, verbose=0), y, atol=1e-6)


def test_causal_steps_see_nothing_behind_them():
    other = STEPS.copy()
    other[:, 5:] += 1
    kernel = KERNEL[:, 0]
    y, changed = (ops.conv(x, kernel, padding="causal", dilation_rate=2) for x in (STEPS, other))
    assert y.shape == (2, 8, 6) and np.array_equal(y[:, :5], changed[:, :5]) and not np.allclose(y[:, 5:], changed[:, 5:])
    by_hand = STEPS[:, 0] @ kernel[0] + STEPS[:, 2] @ kernel[1] + STEPS[:, 4] @ kernel[2]
    np.testing.assert_allclose(y[:, 4], by_hand, atol=1e-5)


def test_what_convolutions_as_functions_refuse():
    with pytest.raises(ValueError, match="takes channels last, got data_format='channels_first'"):
        ops.conv(IMAGES, KERNEL, data_format="channels_first")
    for refused in (
        lambda: backend.resize_images(IMAGES, 2, 2, "channels_first"),
        lambda: backend.spatial_2d_padding(IMAGES, data_format="channels_first"),
    ):
        with pytest.raises(ValueError, match="takes channels last"):
            refused()
    with pytest.raises(ValueError, match="output_padding must be at least 0 and below the stride, 1, got 1"):
        ops.conv_transpose(IMAGES, KERNEL.transpose(0, 1, 3, 2), output_padding=1)
    with pytest.raises(ValueError, match="unknown pool_mode 'sum'"):
        backend.pool2d(IMAGES, (2, 2), pool_mode="sum")
    with pytest.raises(ValueError, match="resize_images: repeats pixels, got 'bilinear'"):
        backend.resize_images(IMAGES, 2, 2, interpolation="bilinear")


def test_what_older_layers_call(capsys):
    K = backend
    np.testing.assert_array_equal(K.pool2d(IMAGES, (2, 2), (2, 2)), ops.max_pool(IMAGES, 2))
    np.testing.assert_array_equal(K.pool2d(IMAGES, (2, 2), pool_mode="avg"), ops.average_pool(IMAGES, 2, 1))
    np.testing.assert_array_equal(K.reverse(STEPS, 1), STEPS[:, ::-1])
    np.testing.assert_array_equal(K.reverse(STEPS, (1, -1)), STEPS[:, ::-1, ::-1])
    np.testing.assert_array_equal(K.resize_images(IMAGES, 2, 3), IMAGES.repeat(2, 1).repeat(3, 2))
    np.testing.assert_array_equal(K.temporal_padding(STEPS, (2, 1)), np.pad(STEPS, ((0, 0), (2, 1), (0, 0))))
    np.testing.assert_array_equal(
        K.spatial_2d_padding(IMAGES, ((1, 0), (2, 1))), np.pad(IMAGES, ((0, 0), (1, 0), (2, 1), (0, 0)))
    )
    np.testing.assert_array_equal(K.map_fn(lambda row: 2 * row, X), 2 * X)
    wanted = (X - 1) / np.sqrt(4 + 1e-3) * 3 + 2
    np.testing.assert_allclose(K.batch_normalization(X, 1.0, 4.0, 2.0, 3.0), wanted)
    np.testing.assert_allclose(K.batch_normalization(X, 1.0, 4.0), (wanted - 2) / 3)
    of_rows = X.mean(axis=1), X.var(axis=1), np.arange(4.0), np.arange(4.0) + 1
    wanted = (X - of_rows[0][:, None]) / np.sqrt(of_rows[1][:, None] + 1e-3) * of_rows[3][:, None] + of_rows[2][:, None]
    np.testing.assert_allclose(K.batch_normalization(X, *of_rows, axis=0), wanted)
    np.testing.assert_allclose(K.batch_normalization(X.T, *of_rows), wanted.T)
    assert (K.dtype(IMAGES), K.count_params(KERNEL), K.identity(X) is X, K.to_dense(X) is X) == ("float32", 144, True, True)
    assert not K.is_sparse(X) and K.print_tensor(3, "three:") == 3 and capsys.readouterr().out == "three: 3\n"
    a, b = np.ones(3), np.zeros(2)
    K.batch_set_value([(a, [1, 2, 3]), (b, [4, 5])])
    assert [v.tolist() for v in K.batch_get_value([a, b])] == [[1, 2, 3], [4, 5]]
    assert K.update_add(a, 1) is a and a.tolist() == [2, 3, 4] and K.update_sub(a, 2).tolist() == [0, 1, 2]
    assert K.moving_average_update(a, np.array([4, 4, 4]), 0.75).tolist() == [1, 1.75, 2.5]
    with K.name_scope("here"):
        kept = K.dropout(np.ones((400, 50)), 0.25, seed=0)
    assert set(np.unique(kept)) == {0, np.float32(1 / 0.75)} and abs((kept == 0).mean() - 0.25) < 0.01
    assert len(np.unique(K.dropout(np.ones((4, 50)), 0.5, (4, 1), seed=0), axis=1).T) == 1


@pytest.mark.parametrize("turned", [False, True])
def test_phases_are_known_inside_a_call(turned):
    class Noisy(Layer):
        def call(self, x):
            return backend.in_test_phase(x, lambda: x + 1) if turned else backend.in_train_phase(lambda: x + 1, x)

    model = Sequential([Input((6,)), Noisy()])
    np.testing.assert_allclose(model(X, training=True), X + 1, atol=1e-6)
    np.testing.assert_allclose(model.predict(X, verbose=0), X, atol=1e-6)
    assert backend.in_train_phase(1, 2) == 2 and backend.in_train_phase(1, 2, training=True) == 1
