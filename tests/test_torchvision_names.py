"""Networks whose files come from PyTorch, in torchvision's names: the network that is built computes what PyTorch's does."""

import functools

import numpy as np
import pytest

from minitl.applications import efficientnet, efficientnet_v2, mobilenet_v2, mobilenet_v3, resnet, squeezenet, vgg
from minitl.models import Model

torch = pytest.importorskip("torch")
nn = torch.nn


class Block(nn.Module):
    """He et al.'s blocks: two 3x3 convolutions, or with `wide` 4 a bottleneck, whose 3x3 convolution has the stride."""

    def __init__(self, channels, width, stride, wide):
        super().__init__()
        sizes = (
            [(channels, width, 3), (width, width, 3)]
            if wide == 1
            else [(channels, width, 1), (width, width, 3), (width, 4 * width, 1)]
        )
        self.count, strided = len(sizes), 0 if wide == 1 else 1
        for k, (a, b, size) in enumerate(sizes):
            setattr(self, f"conv{k + 1}", nn.Conv2d(a, b, size, stride if k == strided else 1, size // 2, bias=False))
            setattr(self, f"bn{k + 1}", nn.BatchNorm2d(b))
        if stride > 1 or channels != wide * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, wide * width, 1, stride, bias=False), nn.BatchNorm2d(wide * width)
            )

    def forward(self, x):
        y = x
        for k in range(1, self.count + 1):
            y = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(y))
            y = torch.relu(y) if k < self.count else y
        return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class Network(nn.Module):
    def __init__(self, counts, wide, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        channels = 64
        for stage, count in enumerate(counts):
            width, blocks = 64 << stage, []
            for number in range(count):
                blocks.append(Block(channels, width, 2 if stage and not number else 1, wide))
                channels = wide * width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("make", "counts", "wide"), [(resnet.ResNet18, (2, 2, 2, 2), 1), (resnet.ResNet50, (3, 4, 6, 3), 4)], ids=["18", "50"]
)
def test_a_file_in_torchvision_s_names(make, counts, wide, tmp_path):
    agree(make, Network(counts, wide, 7), tmp_path)


def agree(make, theirs, folder, images=False):
    """The network that is made for a file of theirs gives what theirs does, for numbers around 0 or for images 0 .. 255."""
    torch.manual_seed(0)
    theirs.eval()
    with torch.no_grad():
        for module in theirs.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.2, 0.6)
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)
    torch.save(theirs.state_dict(), folder / "w.pth")
    arrays = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    (folder / "w.safetensors").write_bytes(pytest.importorskip("safetensors.numpy").save(arrays, {"format": "pt"}))
    settings = {"input_shape": (64, 64, 3), "classes": 7, "classifier_activation": None}
    model, other = (make(weights=folder / name, **settings) for name in ("w.pth", "w.safetensors"))
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    x = 128 + 60 * x if images else x
    with torch.no_grad():
        expected = theirs(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
    found = model.predict(x, verbose=0)
    np.testing.assert_array_equal(other.predict(x, verbose=0), found)
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


class Inverted(nn.Module):
    def __init__(self, channels, filters, stride, expansion):
        super().__init__()
        wide = expansion * channels

        def normalised(a, b, size, stride, groups):
            return nn.Sequential(
                nn.Conv2d(a, b, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(b), nn.ReLU6()
            )

        first = [normalised(channels, wide, 1, 1, 1)] if expansion > 1 else []
        depthwise = normalised(wide, wide, 3, stride, wide)
        self.conv = nn.Sequential(*first, depthwise, nn.Conv2d(wide, filters, 1, bias=False), nn.BatchNorm2d(filters))
        self.adds = stride == 1 and channels == filters

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, classes):
        super().__init__()
        features = [nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())]
        channels = 32
        for filters, stride, count in mobilenet_v2.STAGES:
            for number in range(count):
                features.append(
                    Inverted(channels, filters, 1 if number else stride, 6 if channels > 32 or number or filters > 16 else 1)
                )
                channels = filters
        features.append(nn.Sequential(nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6()))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Excited(nn.Module):
    """Squeeze and excitation, with its two activations."""

    def __init__(self, channels, narrow, active, gate):
        super().__init__()
        self.fc1, self.fc2, self.active, self.gate = nn.Conv2d(channels, narrow, 1), nn.Conv2d(narrow, channels, 1), active, gate

    def forward(self, x):
        return x * self.gate(self.fc2(self.active(self.fc1(x.mean((2, 3), keepdim=True)))))


def normalised(channels, filters, size, stride=1, groups=1, epsilon=1e-3, active=None):
    convolution = nn.Conv2d(channels, filters, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(filters, epsilon), *([active] if active else []))


class Searched(nn.Module):
    """A block of MobileNetV3, of channels as in the paper's tables."""

    def __init__(self, channels, wide, filters, window, stride, squeeze, swish):
        super().__init__()
        active = nn.Hardswish() if swish else nn.ReLU()
        parts = [normalised(channels, wide, 1, active=active)] if wide != channels else []
        parts.append(normalised(wide, wide, window, stride, wide, active=active))
        parts += [Excited(wide, mobilenet_v2.divisible(wide // 4), nn.ReLU(), nn.Hardsigmoid())] if squeeze else []
        self.block = nn.Sequential(*parts, normalised(wide, filters, 1))
        self.adds = stride == 1 and channels == filters

    def forward(self, x):
        return x + self.block(x) if self.adds else self.block(x)


class MobileNetV3(nn.Module):
    def __init__(self, wides, blocks, head, classes):
        super().__init__()
        features, channels = [normalised(3, 16, 3, 2, active=nn.Hardswish())], 16
        for wide, block in zip(wides, blocks, strict=True):
            features.append(Searched(channels, wide, block.filters, block.window, block.stride, block.squeeze, block.swish))
            channels = block.filters
        self.features = nn.Sequential(*features, normalised(channels, 6 * channels, 1, active=nn.Hardswish()))
        self.classifier = nn.Sequential(nn.Linear(6 * channels, head), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(head, classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


# Channels inside the blocks, from tables 1 and 2 of the paper.
SMALL = (16, 72, 88, 96, 240, 240, 120, 144, 288, 576, 576)
BIG = (16, 64, 72, 72, 120, 120, 240, 200, 184, 184, 480, 672, 672, 960, 960)


@pytest.mark.parametrize(("kind", "wides", "head"), [("small", SMALL, 1024), ("large", BIG, 1280)])
def test_mobilenet_v3_in_torchvision_s_names(kind, wides, head, tmp_path):
    make = functools.partial(mobilenet_v3.MobileNetV3, kind, include_preprocessing=False)
    agree(make, MobileNetV3(wides, mobilenet_v3.BLOCKS[kind], head, 7), tmp_path)


def test_mobilenet_v3_takes_images_of_bytes_for_torchvision_s_files_too(tmp_path):
    torch.save(MobileNetV3(SMALL, mobilenet_v3.BLOCKS["small"], 1024, 7).state_dict(), tmp_path / "w.pth")
    model = mobilenet_v3.MobileNetV3Small(weights=tmp_path / "w.pth", classes=7, input_shape=(32, 32, 3))
    bare = mobilenet_v3.MobileNetV3Small(
        weights=tmp_path / "w.pth", classes=7, input_shape=(32, 32, 3), include_preprocessing=False
    )
    x = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    scaled = (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(model.predict(x, verbose=0), bare.predict(scaled.astype("float32"), verbose=0), rtol=1e-4)
    layer = model.get_layer("rescaling")
    np.testing.assert_allclose(layer(x), scaled, rtol=1e-5, atol=1e-5)


class Weighted(nn.Module):
    """A block of EfficientNet or, with `whole`, one of the first ones of its second version."""

    def __init__(self, channels, filters, window, stride, expansion, whole, epsilon):
        super().__init__()
        wide = channels * expansion
        made = functools.partial(normalised, epsilon=epsilon)
        parts = [made(channels, wide, 1, active=nn.SiLU())] if expansion > 1 else []
        parts.append(made(wide, wide, window, stride, wide, active=nn.SiLU()))
        parts.append(Excited(wide, channels // 4, nn.SiLU(), nn.Sigmoid()))
        if whole:
            parts = [made(channels, wide if expansion > 1 else filters, window, stride, active=nn.SiLU())]
        self.block = nn.Sequential(*parts, *([made(wide, filters, 1)] if not whole or expansion > 1 else []))
        self.adds = stride == 1 and channels == filters

    def forward(self, x):
        return x + self.block(x) if self.adds else self.block(x)


class EfficientNet(nn.Module):
    def __init__(self, first, stages, epsilon, classes, mean, deviation):
        super().__init__()
        made = functools.partial(normalised, epsilon=epsilon, active=nn.SiLU())
        features, channels = [made(3, first, 3, 2)], first
        for filters, window, stride, expansion, count, whole in stages:
            blocks = []
            for number in range(count):
                blocks.append(Weighted(channels, filters, window, 1 if number else stride, expansion, whole, epsilon))
                channels = filters
            features.append(nn.Sequential(*blocks))
        self.features = nn.Sequential(*features, made(channels, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))
        self.mean, self.deviation = (torch.tensor(numbers).reshape(3, 1, 1) for numbers in (mean, deviation))

    def forward(self, x):
        return self.classifier(self.features((x / 255 - self.mean) / self.deviation).mean((2, 3)))


IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
# Filters, window, stride, expansion, blocks, and whether convolutions are whole: the tables of both papers.
OF_B0 = [
    (16, 3, 1, 1, 1, False), (24, 3, 2, 6, 2, False), (40, 5, 2, 6, 2, False), (80, 3, 2, 6, 3, False), (112, 5, 1, 6, 3, False),
    (192, 5, 2, 6, 4, False), (320, 3, 1, 6, 1, False),
]  # fmt: skip
OF_S = [
    (24, 3, 1, 1, 2, True), (48, 3, 2, 4, 4, True), (64, 3, 2, 4, 4, True), (128, 3, 2, 4, 6, False), (160, 3, 1, 6, 9, False),
    (256, 3, 2, 6, 15, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "first", "stages", "epsilon", "scaling"),
    [
        (efficientnet.EfficientNetB0, 32, OF_B0, 1e-5, IMAGENET),
        (efficientnet_v2.EfficientNetV2S, 24, OF_S, 1e-3, IMAGENET),
    ],
    ids=["B0", "V2S"],
)  # fmt: skip
def test_efficientnets_in_torchvision_s_names(make, first, stages, epsilon, scaling, tmp_path):
    agree(make, EfficientNet(first, stages, epsilon, 7, *scaling), tmp_path, images=True)


BRIGHTEST = (1 - np.array(IMAGENET[0])) / IMAGENET[1]  # 255, as networks for ImageNet want it


@pytest.mark.parametrize(
    ("module", "kind", "white", "momentum"),
    [(efficientnet_v2, "m", BRIGHTEST, 0.9), (efficientnet_v2, "l", 1.0, 0.9), (efficientnet, 6, BRIGHTEST, 0.99)],
    ids=["V2M", "V2L", "B6"],
)
def test_how_torchvision_scales_images_for_its_efficientnets(module, kind, white, momentum, monkeypatch):
    monkeypatch.setattr(module, "finish", lambda inputs, x, *_: Model(inputs, x))  # without the file
    family = getattr(module, "EfficientNetV2" if isinstance(kind, str) else "EfficientNet")
    model = family(kind, weights="w.pth", input_shape=(32, 32, 3), include_top=False)
    scaling = next(layer for layer in model.layers if type(layer).__name__ == "Rescaling")
    scaled = scaling(np.full((1, 32, 32, 3), 255, np.float32))
    np.testing.assert_allclose(scaled, np.broadcast_to(white, scaled.shape), rtol=1e-5)
    first = model.get_layer("stem_bn")
    assert (first.epsilon, first.momentum) == (1e-3, momentum)


class VGG(nn.Module):
    def __init__(self, counts, classes):
        super().__init__()
        features, channels = [], 3
        for count, width in zip(counts, vgg.WIDTHS, strict=True):
            for _ in range(count):
                features += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            features.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 4, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, classes),
        )

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


@pytest.mark.parametrize(
    ("make", "twin"),
    [(mobilenet_v2.MobileNetV2, lambda: MobileNetV2(7)), (vgg.VGG16, lambda: VGG((2, 2, 3, 3, 3), 7))],
    ids=["MobileNetV2", "VGG16"],
)
def test_other_networks_in_torchvision_s_names(make, twin, tmp_path):
    agree(make, twin(), tmp_path)


def test_pixels_as_torchvision_wants_them():
    pixels = np.full((1, 1, 1, 3), 255.0)
    expected = (1 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    for prepare in (resnet.preprocess_torch, squeezenet.preprocess_torch):
        np.testing.assert_allclose(prepare(pixels).reshape(-1), expected, rtol=1e-5)
