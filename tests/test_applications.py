"""Published networks: their sizes, their weights where the files are at hand, their gradients, and what they refuse."""

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_datasets import needs_cifar

from minitl import applications, set_random_seed, use_backend
from minitl.applications import imagenet, network, resnet_cifar
from minitl.applications.fast_cifar import fast_cifar
from minitl.datasets import cifar10
from minitl.gradcheck import check_adjoint
from minitl.kernels.launch import INTERPRETED
from minitl.layers import Dense, Dropout, GlobalAveragePooling2D, Input, Lambda, RandomFlip
from minitl.losses import BinaryCrossentropy
from minitl.models import Model, Sequential, load_model
from minitl.optimizers import Adam

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("MINITL_SHARED", ROOT.parent / "shared"))
there = (SHARED / "weights").is_dir() and importlib.util.find_spec("safetensors") is not None
needs_weights = pytest.mark.skipif(not there, reason="published weights, or the extra interop, are not at hand")

# Parameters with all statistics, as Keras and torchvision count them.
SIZES = {
    "VGG16": 138_357_544, "VGG19": 143_667_240, "ResNet50": 25_636_712, "MobileNet": 4_253_864, "MobileNetV2": 3_538_984,
    "ResNet18": 11_689_512 + 9_600, "ResNet34": 21_797_672 + 17_024, "SqueezeNet": 1_248_424, "EfficientNetLite0": 4_694_024,
    "LeNet5": 61_706, "ResNet20": 269_722 + 1_376, "ResNet32": 464_154 + 2_272, "ResNet44": 658_586 + 3_168,
    "ResNet56": 853_018 + 4_064, "Xception": 22_910_480, "InceptionV3": 23_851_784, "DenseNet121": 8_062_504,
    "ResNet101": 44_707_176, "ResNet50V2": 25_613_800, "EfficientNetB0": 5_330_570, "MobileNetV3Small": 2_554_968,
    "MobileNetV3Large": 5_507_432, "EfficientNetV2B0": 7_200_312, "InceptionResNetV2": 55_873_736,
}  # fmt: skip
# More of the same kind: without their tops, as Keras counts them (EfficientNets less one: a counter that is no weight here).
DEEPER = {
    "DenseNet169": 12_642_880, "DenseNet201": 18_321_984, "ResNet152": 58_370_944, "ResNet101V2": 42_626_560,
    "ResNet152V2": 58_331_648, "EfficientNetB1": 6_575_238, "EfficientNetB2": 7_768_568, "EfficientNetB3": 10_783_534,
    "EfficientNetB4": 17_673_822, "EfficientNetB5": 28_513_526, "EfficientNetB6": 40_960_142, "EfficientNetB7": 64_097_686,
    "EfficientNetV2B1": 6_931_124, "EfficientNetV2B2": 8_769_374, "EfficientNetV2B3": 12_930_622, "EfficientNetV2S": 20_331_360,
    "EfficientNetV2M": 53_150_388, "EfficientNetV2L": 117_746_848,
}  # fmt: skip
LARGE = {"InceptionResNetV2", "VGG19", "ResNet34", "ResNet32", "ResNet44", "ResNet56", "ResNet101", "MobileNetV3Large"}


@pytest.mark.parametrize("name", sorted(set(SIZES) - {"VGG16", "VGG19"}))
def test_networks_have_their_published_sizes_and_their_passes_can_be_recorded(name):
    settings = {"input_shape": (224, 224, 3)} if "MobileNetV3" in name else {}  # Keras leaves them open
    model = getattr(applications, name)(weights=None, **settings)
    assert model.count_params() == SIZES[name]
    small = name == "LeNet5" or name[6:] in ("20", "32", "44", "56")
    rows = 299 if "ception" in name else 32 if small else 224
    assert model.input_shape == (None, rows, rows, 1 if name == "LeNet5" else 3)
    assert INTERPRETED or model.new_run().plan.replays is not None


@pytest.mark.parametrize("name", ["VGG16", "VGG19"])
def test_the_large_ones_without_their_top(name):
    dense = (7 * 7 * 512 + 1) * 4096 + 4097 * 4096 + 4097 * 1000
    assert getattr(applications, name)(weights=None, include_top=False).count_params() == SIZES[name] - dense


@pytest.mark.parametrize("name", sorted(DEEPER))
def test_deeper_ones_have_their_sizes(name):
    model = getattr(applications, name)(weights=None, include_top=False, input_shape=(64, 64, 3))
    assert model.count_params() == DEEPER[name]


@pytest.mark.parametrize(
    "name", ["Xception", "InceptionV3", "DenseNet121", "ResNet50V2", "EfficientNetB0", "VGG16", "MobileNet", "MobileNetV2"]
)
@pytest.mark.filterwarnings("ignore")
def test_networks_are_keras_s(name, tmp_path):
    keras = pytest.importorskip("keras")
    settings = {"weights": None, "include_top": False, "pooling": "avg", "input_shape": (96, 96, 3)}
    if "MobileNet" in name:
        settings["alpha"] = 0.5
    theirs, ours = getattr(keras.applications, name)(**settings), getattr(applications, name)(**settings)
    assert [type(layer).__name__ for layer in ours.layers] == [type(layer).__name__ for layer in theirs.layers]
    drawn = np.random.default_rng(0)
    theirs.set_weights([drawn.normal(1, 0.1, w.shape) ** 2 if w.ndim == 1 else w for w in theirs.get_weights()])
    x = drawn.uniform(0, 255, (2, 96, 96, 3)).astype(np.float32)
    expected = np.asarray(theirs.predict(x, verbose=0))
    for file in (tmp_path / "w.weights.h5", tmp_path / "w.h5"):
        theirs.save_weights(file) if "weights" in file.name else theirs.save(file)
        ours.set_weights([np.zeros_like(w) for w in ours.get_weights()])
        ours.load_weights(file)
        np.testing.assert_allclose(ours.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_inception_resnet_is_keras_s(tmp_path):
    keras = pytest.importorskip("keras")
    settings = {"weights": None, "include_top": False, "pooling": "avg", "input_shape": (96, 96, 3)}
    theirs, ours = (kind.InceptionResNetV2(**settings) for kind in (keras.applications, applications))
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    assert {"block35_1_mixed", "block17_20_conv", "block8_10_conv", "conv_7b_bn", "mixed_7a"} <= {x.name for x in ours.layers}
    same_outputs(theirs, ours, 0.5, (96, 96, 3), tmp_path)


@pytest.mark.parametrize("name", ["MobileNetV3Small", "MobileNetV3Large"])
@pytest.mark.parametrize(
    "settings",
    [
        {"input_shape": (65, 64, 3), "classes": 7},
        {"alpha": 0.75, "include_top": False, "pooling": "max"},  # images of any size
        {"minimalistic": True, "input_shape": (64, 64, 3), "classifier_activation": None},
        {"alpha": 1.25, "input_shape": (64, 64, 3), "include_preprocessing": False, "dropout_rate": 0.0},
    ],
    ids=["odd", "features", "minimalistic", "wide"],
)
def test_versions_of_mobilenet_v3_are_keras_s(name, settings, tmp_path):
    keras = pytest.importorskip("keras")
    theirs, ours = (getattr(kind, name)(weights=None, **settings) for kind in (keras.applications, applications))
    assert ours.name == theirs.name and ours.input_shape == theirs.input_shape and ours.output_shape == theirs.output_shape
    assert named_weights(ours) == named_weights(theirs)
    same_outputs(theirs, ours, 2.0, settings.get("input_shape", (70, 64, 3)), tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"input_shape": (65, 70, 3), "classes": 7},
        {"input_shape": (64, 33, 1), "include_top": False, "pooling": "max"},
    ],
)
def test_versions_of_efficientnet_v2_are_keras_s(settings, tmp_path):
    keras = pytest.importorskip("keras")
    theirs, ours = (kind.EfficientNetV2B0(weights=None, **settings) for kind in (keras.applications, applications))
    assert ours.name == theirs.name and ours.input_shape == theirs.input_shape and ours.output_shape == theirs.output_shape
    assert [type(layer).__name__ for layer in ours.layers] == [type(layer).__name__ for layer in theirs.layers]
    assert named_weights(ours) == named_weights(theirs) and ours.count_params() == theirs.count_params()
    same_outputs(theirs, ours, 0.5, settings["input_shape"], tmp_path)


def same_outputs(theirs, ours, factor, image_shape, folder):
    """Of images, after our model has loaded the weights of Keras's: drawn ones, kernels times a factor."""
    drawn = np.random.default_rng(0)
    theirs.set_weights([drawn.normal(1, 0.1, w.shape) ** 2 if w.ndim == 1 else factor * w for w in theirs.get_weights()])
    theirs.save_weights(folder / "w.weights.h5")
    ours.load_weights(folder / "w.weights.h5")
    x = drawn.uniform(0, 255, (2, *image_shape)).astype(np.float32)
    expected = np.asarray(theirs.predict(x, verbose=0))
    np.testing.assert_allclose(ours.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_how_efficientnet_v2_scales_images():
    white = np.full((1, 32, 32, 3), 255, np.float32)
    for name, expected in (("B3", (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]), ("M", [127 / 128] * 3)):
        model = getattr(applications, f"EfficientNetV2{name}")(weights=None, include_top=False, input_shape=(32, 32, 3))
        scaled = Model(model.input, model.get_layer("stem_conv").input)(white)
        np.testing.assert_allclose(scaled[0, 0, 0], expected, rtol=1e-6)
    bare = applications.EfficientNetV2B0(weights=None, include_top=False, include_preprocessing=False)  # images of any size
    assert bare.layers[1].name == "stem_conv"


@pytest.mark.parametrize("name", ["EfficientNetB1", "EfficientNetV2B1"])
def test_residual_blocks_are_left_out_more_often_the_deeper_they_are(name):
    model = getattr(applications, name)(weights=None, include_top=False, input_shape=(32, 32, 3))
    rates = [layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"]
    assert rates == sorted(rates) and 0 < rates[0] < 0.02 and 0.18 < rates[-1] < 0.2


def named_weights(model):
    return [layer.name for layer in model.layers if layer.weights]


def small(name):
    settings = {"weights": None}
    if "MobileNet" in name:
        settings["alpha"] = {"MobileNet": 0.25, "MobileNetV2": 0.35}.get(name, 0.5)
    if name not in ("LeNet5", "ResNet20", "ResNet32", "ResNet44", "ResNet56"):
        rows = {"InceptionV3": 75, "Xception": 71}.get(name, 40)
        settings.update(input_shape=(rows, rows, 3), include_top=False, pooling="avg")
    return getattr(applications, name)(**settings)


def with_statistics(name, drawn):
    """A small network whose batch normalisations have seen something."""
    model = small(name)
    for _, layer in model.named_layers():
        if "moving_mean" in layer.state:
            layer.state["moving_mean"][...] = drawn.normal(0, 0.1, layer.state["moving_mean"].shape)
            layer.state["moving_variance"][...] = drawn.uniform(0.5, 1.5, layer.state["moving_mean"].shape)
    return model


# MINITL_EVERY=1 takes every network, also the larger ones made of the same blocks, all of its weights, and 200 coordinates of x.
EVERY = int(os.environ.get("MINITL_EVERY", "7"))
CHECKED = sorted(set(SIZES) - (set() if EVERY == 1 else LARGE))


@pytest.mark.parametrize("name", CHECKED)
def test_the_backward_pass_of_a_network_is_the_adjoint_of_its_forward_pass(name, backend):
    # In training the statistics of few numbers magnify rounding until ReLUs change sides: in float64 only.
    set_random_seed(0)
    drawn = np.random.default_rng(0)
    model = with_statistics(name, drawn)
    x = drawn.standard_normal((8, *model.input_shape[1:]))
    assert check_adjoint(model, x, training=False, dtype=np.float32) < 1e-3
    assert check_adjoint(model, x) < (1e-3 if name == "ResNet101" else 1e-5)


@pytest.mark.parametrize("name", CHECKED)
def test_gradients_of_whole_networks(name, backend):
    # Of weights in float64: differences along random directions, and of some coordinates of x.
    drawn = np.random.default_rng(0)
    model = with_statistics(name, drawn).astype(np.float64)
    x = drawn.standard_normal((2, *model.input_shape[1:]))
    dy = drawn.standard_normal(model(x).shape)
    model.forward(x)
    dx = model.backward(dy)
    value = lambda: float((dy * model(x)).sum())  # noqa: E731
    checked = 0

    def same_slope(array, direction, expected):
        """With one of two steps: the longer may cross a kink, the shorter is rounded."""
        kept = array.copy()
        for step in (1e-7, 1e-9):
            found = []
            for sign in (1, -1):
                array[...] = kept + sign * step * direction
                found.append(value())
            array[...] = kept
            slope = (found[0] - found[1]) / (2 * step)
            if slope == pytest.approx(expected, rel=2e-3, abs=1e-5):
                return True
        return False

    for _, layer in model.named_layers():
        for key, w in layer.parameters.items():
            checked += 1
            if checked % EVERY:
                continue
            direction = drawn.standard_normal(w.shape) / np.sqrt(w.size)
            assert same_slope(w, direction, float((layer.gradients[key] * direction).sum())), (layer.label, key)
    for place in drawn.choice(x.size, 200 if EVERY == 1 else 20, replace=False):
        coordinate = np.zeros(x.shape)
        coordinate.flat[place] = 1
        assert same_slope(x, coordinate, float(dx.flat[place])), place


def test_both_houses_agree():
    model = small("MobileNetV2")
    x = np.random.default_rng(0).standard_normal((2, 40, 40, 3)).astype(np.float32)
    y = model(x)
    with use_backend("numpy"):
        np.testing.assert_allclose(model(x), y, rtol=1e-3, atol=1e-4 * np.abs(y).max())


@needs_weights
@needs_cifar
@pytest.mark.parametrize(("depth", "right"), [(20, 9173), (32, 9263), (56, 9339)])
def test_cifar_networks_reach_exactly_what_is_published(depth, right):
    _, (x, y) = cifar10.load_data()
    file = SHARED / "weights" / f"cifar10_resnet{depth}.safetensors"
    model = getattr(applications, f"ResNet{depth}")(weights=file, classifier_activation=None)
    logits = model.predict(resnet_cifar.preprocess_input(x), batch_size=250, verbose=0)
    assert int((logits.argmax(axis=1) == y[:, 0]).sum()) == right
    assert model.preprocessing == imagenet.preprocessing("torch")
    if depth == 20:
        expected = np.load(SHARED / "weights" / "expected_logits.npz")["cifar10_resnet20_first16"]
        np.testing.assert_allclose(logits[:16], expected, atol=1e-4)


@pytest.fixture(scope="module")
def photographs():
    expected = np.load(SHARED / "weights" / "expected_logits.npz")
    folder = SHARED / "photos" / "imagenet_check"
    with open(folder / "labels.csv") as file:
        rows = list(csv.DictReader(file))
    x = np.stack([np.asarray(Image.open(folder / rows[i]["file"]).convert("RGB")) for i in expected["rows"]])
    return x.astype(np.float32), np.array([int(rows[i]["class"]) for i in expected["rows"]]), expected


def converted(name, folder):
    spec = importlib.util.spec_from_file_location("tflite", SHARED / "weights" / "tflite_to_safetensors.py")
    tflite = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tflite)
    tflite.save(folder / "w.safetensors", tflite.convert((SHARED / "weights" / f"{name}.tflite").read_bytes()), {})
    return folder / "w.safetensors"


@needs_weights
@pytest.mark.parametrize(
    "name", ["mobilenet_v2_1.0_224_quant", "mobilenet_v1_0.25_128_quant", "squeezenet1_0", "efficientnet_lite0"]
)
def test_imagenet_networks_give_the_expected_logits(name, photographs, tmp_path):
    x, labels, expected = photographs
    top = {"classifier_activation": None}
    if name == "efficientnet_lite0":
        model, prepared, close = applications.EfficientNetLite0(**top), applications.efficientnet_lite.preprocess_input(x), 0.05
    elif name == "squeezenet1_0":
        file = SHARED / "weights" / "squeezenet1_0_deepcompression.safetensors"
        model, prepared, close = applications.SqueezeNet(weights=file, **top), applications.squeezenet.preprocess_input(x), 1e-3
    else:
        file, prepared, close = converted(name, tmp_path), (x - 128) / 128, 1e-3
        if "v2" in name:
            model = applications.MobileNetV2(weights=file, **top)
        else:
            model = applications.MobileNet(input_shape=(224, 224, 3), alpha=0.25, weights=file, **top)
    logits = model.predict(prepared, verbose=0)
    # The packaged EfficientNet is float16: its logits of up to 12.6 differ by less than 0.03 from the float32 file's.
    assert np.abs(logits - expected[name]).max() < close
    np.testing.assert_array_equal(logits.argmax(axis=1), expected[name].argmax(axis=1))
    assert (logits.argmax(axis=1) == labels).mean() > 0.4  # 12 photographs


def test_efficientnets_grow_as_published():
    """Width, depth, pixels and dropout of B0 to B7 in the authors' table."""
    assert [kind[:4] for kind in applications.efficientnet.KINDS] == [
        (1.0, 1.0, 224, 0.2), (1.0, 1.1, 240, 0.2), (1.1, 1.2, 260, 0.3), (1.2, 1.4, 300, 0.3),
        (1.4, 1.8, 380, 0.4), (1.6, 2.2, 456, 0.4), (1.8, 2.6, 528, 0.5), (2.0, 3.1, 600, 0.5),
    ]  # fmt: skip
    model = applications.EfficientNetB2(weights=None, classes=2, input_shape=(32, 32, 3))
    assert model.get_layer("top_dropout").rate == 0.3


def test_images_of_uneven_sizes_are_framed_below_and_on_the_right():
    model = applications.MobileNet(weights=None, include_top=False, input_shape=(50, 49, 3), alpha=0.25)
    sizes = [model.get_layer(f"conv_dw_{number}").output_shape[1:3] for number in (1, 2, 4, 6, 12)]
    assert sizes == [(25, 25), (12, 12), (6, 6), (3, 3), (1, 1)]


def test_the_packaged_network_knows_what_it_sees():
    model = applications.EfficientNetLite0()
    assert model.preprocessing == imagenet.preprocessing("lite")
    features = applications.EfficientNetLite0(include_top=False, pooling="avg", input_shape=(96, 96, 3))
    assert features.output_shape == (None, 1280)
    np.testing.assert_array_equal(features.get_weights()[0], model.get_weights()[0])
    assert "Apache-2.0" in (Path(applications.__file__).parent / "efficientnet_lite0.md").read_text()


def test_inputs_and_names():
    x = np.array([[[[0.0, 127.5, 255.0]]]], np.float32)
    np.testing.assert_allclose(applications.mobilenet_v2.preprocess_input(x), [[[[-1, 0, 1]]]])
    np.testing.assert_allclose(applications.vgg16.preprocess_input(x), [[[[255 - 103.939, 127.5 - 116.779, -123.68]]]], rtol=1e-6)
    np.testing.assert_allclose(
        applications.resnet.preprocess_torch(x), [[[[-0.485 / 0.229, (0.5 - 0.456) / 0.224, (1 - 0.406) / 0.225]]]], rtol=1e-5
    )
    np.testing.assert_allclose(applications.efficientnet_lite.preprocess_input(x), (x - 127) / 128, rtol=1e-6)
    with pytest.raises(ValueError, match="channels_last"):
        applications.vgg16.preprocess_input(x, data_format="channels_first")
    p = np.zeros((1, 1000))
    p[0, 1], p[0, 7] = 0.75, 0.25
    assert applications.vgg16.decode_predictions(p, top=2) == [[("n01443537", "goldfish", 0.75), ("n01514668", "cock", 0.25)]]
    with pytest.raises(ValueError, match=r"expected predictions \(N, 1000\)"):
        applications.vgg16.decode_predictions(p[:, :10])
    assert len(imagenet.classes()) == 1000


@pytest.mark.parametrize(("call", "message"), [
    (lambda: applications.ResNet50(weights="imagenett"), "weights must be None, a file, or one of"),
    (lambda: applications.ResNet50(weights="imagenet", classes=10), "1000 classes, got classes=10"),
    (lambda: applications.EfficientNetLite0(classes=10), "1000 classes, got classes=10"),
    (lambda: applications.MobileNetV2(weights=None, input_shape=(16, 16, 3)), "at least 32"),
    (lambda: applications.MobileNetV2(weights="imagenet", input_shape=(96, 96, 1)), "images of 3 channels"),
    (lambda: applications.VGG16(weights=None, include_top=False, pooling="mean"), 'pooling must be None, "avg" or "max"'),
    (lambda: resnet_cifar.ResNetCIFAR(21), "depth must be 6 n"),
    (lambda: applications.VGG16(weights="letters.gif"), "ending of a weight file"),
])  # fmt: skip
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_official_file_that_cannot_be_fetched_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MINITL_DATA", str(tmp_path))

    def no_network(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr("pooch.retrieve", no_network)
    with pytest.raises(
        OSError, match=r"cannot fetch .*resnet50_weights.*notop.h5.* put .*notop.h5 into .*weights yourself.*md5 4d473c1d"
    ):
        applications.ResNet50(include_top=False)
    with pytest.raises(OSError, match=r"resnet20-12fca82f.th"):
        applications.ResNet20(weights="cifar10")
    # A file of that name whose checksum does not begin as its name says is refused.
    monkeypatch.setattr("pooch.retrieve", lambda *a, fname, path, **k: str(Path(path) / fname))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet20-12fca82f.th").write_bytes(b"something else")
    with pytest.raises(ValueError, match="checksum is wrong"):
        applications.ResNet20(weights="cifar10")


@pytest.mark.parametrize(("make", "settings", "file"), [
    ("MobileNetV2", {"input_shape": (96, 96, 3)}, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"),
    ("MobileNetV2", {"input_shape": (96, 128, 3)}, "tf_kernels_1.0_224_no_top.h5"),
    ("MobileNetV2", {"input_shape": (100, 100, 3), "alpha": 0.35}, "tf_kernels_0.35_224_no_top.h5"),
    ("MobileNetV2", {"input_shape": (192, 192, 3), "include_top": True}, "tf_kernels_1.0_192.h5"),
    ("MobileNetV2", {}, "tf_kernels_1.0_224_no_top.h5"),
    ("MobileNet", {"input_shape": (128, 128, 3), "alpha": 0.25}, "mobilenet_2_5_128_tf_no_top.h5"),
    ("MobileNet", {"input_shape": (128, 160, 3)}, "mobilenet_1_0_224_tf_no_top.h5"),
    ("MobileNet", {"input_shape": (100, 100, 3), "alpha": 0.75}, "mobilenet_7_5_224_tf_no_top.h5"),
    ("MobileNet", {"include_top": True}, "mobilenet_1_0_224_tf.h5"),
    ("MobileNetV3Small", {}, "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"),
    ("MobileNetV3Large", {"include_top": True, "alpha": 0.75}, "weights_mobilenet_v3_large_224_0.75_float.h5"),
    ("MobileNetV3Large", {"minimalistic": True}, "weights_mobilenet_v3_large_minimalistic_224_1.0_float_no_top_v2.h5"),
    ("EfficientNetV2B3", {}, "efficientnet_v2/efficientnetv2-b3_notop.h5"),
    ("EfficientNetV2S", {"include_top": True}, "efficientnet_v2/efficientnetv2-s.h5"),
])  # fmt: skip
def test_which_official_file_belongs_to_a_size(make, settings, file, tmp_path, monkeypatch):
    monkeypatch.setenv("MINITL_DATA", str(tmp_path))
    asked = []

    def no_network(url, *_, **__):
        asked.append(url)
        raise ConnectionError("no network")

    monkeypatch.setattr("pooch.retrieve", no_network)
    with pytest.raises(OSError, match=r"put .* into .* yourself"):
        getattr(applications, make)(**{"include_top": False, "weights": "imagenet", **settings})
    assert len(asked) == 1 and asked[0].endswith(file)


def test_own_input_and_own_top():
    inputs = Input((64, 64, 3))
    base = applications.MobileNetV2(weights=None, include_top=False, input_tensor=inputs, pooling="max", alpha=0.35)
    model = Model(inputs, Dense(3)(base.output))
    assert model(np.zeros((2, 64, 64, 3), np.float32)).shape == (2, 3)
    with pytest.raises(TypeError, match="input_tensor must be a value"):
        network.image_input(None, 224, True, None, input_tensor=np.zeros(3))


def test_they_cost_nothing_until_they_are_used():
    program = "import sys, minitl.applications; print([m for m in sys.modules if 'interop' in m or 'applications.' in m])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_modes_of_pixels():
    with pytest.raises(ValueError, match="unknown preprocessing mode 'theano'"):
        imagenet.preprocessing("theano")
    pixels = np.array([0.0, 127.5, 255.0]).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(imagenet.preprocess_input(pixels, mode="tf").reshape(-1), [-1, 0, 1], atol=1e-6)


def test_names_of_layers_in_published_files_of_efficientnet_lite():
    names = {
        "stem_conv": "_conv_stem", "stem_bn": "_bn0", "head_conv": "_conv_head", "head_bn": "_bn1", "predictions": "_fc",
        "block0_depthwise": "_blocks.0._depthwise_conv", "block12_expand_bn": "_blocks.12._bn0", "block3_add": None, "pool": None,
    }  # fmt: skip
    assert {path: applications.efficientnet_lite.torch_name(path) for path in names} == names


@pytest.mark.parametrize(("rows", "columns"), [(7, 7), (8, 7), (7, 8), (6, 10), (9, 12)])
def test_windows_that_reach_over_the_edge(rows, columns):
    inputs = Input((rows, columns, 2))
    model = Model(inputs, applications.squeezenet.ceil_pooling(inputs, "pool"))
    x = np.random.default_rng(0).random((1, rows, columns, 2)).astype(np.float32)
    starts = [range(0, n - 1, 2) if n % 2 == 0 else range(0, n - 2, 2) for n in (rows, columns)]
    expected = [[x[0, i : i + 3, j : j + 3].max(axis=(0, 1)) for j in starts[1]] for i in starts[0]]
    np.testing.assert_array_equal(model(x)[0], expected)


def test_the_fast_network_has_its_recipe_s_widths():
    filters = [layer.filters for layer in fast_cifar().layers if hasattr(layer, "filters")]
    assert filters == [24, 64, 64, 256, 256, 256, 256]


@pytest.mark.parametrize("mode", imagenet.MODES)
def test_images_are_prepared_inside_of_a_network(mode, tmp_path):
    x = np.random.default_rng(0).uniform(0, 255, (2, 5, 4, 3)).astype(np.float32)
    expected = imagenet.preprocess_input(x, mode=mode)
    inputs = Input((5, 4, 3))
    model = Model(inputs, imagenet.preprocess_input(inputs, mode=mode))
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)
    for file in ("m.npz", "m.keras", "m.h5"):
        model.save(tmp_path / file)
        np.testing.assert_array_equal(load_model(tmp_path / file)(x), model(x))
    whole = Input((5, 4, 3), dtype="uint8")
    of_bytes = Model(whole, imagenet.preprocess_input(whole, mode=mode))
    np.testing.assert_allclose(
        of_bytes(x.astype(np.uint8)), imagenet.preprocess_input(x.astype(np.uint8), mode=mode), rtol=1e-5, atol=1e-6
    )
    layer = Lambda(lambda x: imagenet.preprocess_input(x, mode=mode))  # with a gradient, where something below it learns
    layer.forward(x, True)
    dy, step = np.random.default_rng(1).normal(size=x.shape).astype(np.float32), 1.0
    slope = ((layer(x + step * dy) - layer(x - step * dy)) * dy).sum() / (2 * step)
    assert float((layer.backward(dy) * dy).sum()) == pytest.approx(float(slope), rel=1e-3)


def test_the_tutorial_s_network_learns_on_images_of_0_to_255():
    base = applications.MobileNetV2(input_shape=(32, 32, 3), include_top=False, weights=None, alpha=0.35)
    base.trainable = False
    inputs = Input((32, 32, 3))
    x = Sequential([RandomFlip("horizontal")])(inputs)
    x = applications.mobilenet_v2.preprocess_input(x)
    x = Dropout(0.2)(GlobalAveragePooling2D()(base(x, training=False)))
    model = Model(inputs, Dense(1)(x))
    model.compile(optimizer=Adam(1e-3), loss=BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
    images, labels = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)), np.arange(8) % 2
    before = base.get_weights()
    history = model.fit(images, labels, epochs=2, batch_size=4, verbose=0)
    base.trainable = True
    for layer in base.layers[:100]:
        layer.trainable = False
    model.compile(optimizer=Adam(1e-5), loss=BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
    more = model.fit(images, labels, epochs=4, initial_epoch=history.epoch[-1] + 1, batch_size=4, verbose=0)
    assert more.epoch == [2, 3] and np.isfinite(more.history["loss"]).all()
    moved = [bool((old != new).any()) for old, new in zip(before, base.get_weights(), strict=True)]
    assert any(moved) and not all(moved)
