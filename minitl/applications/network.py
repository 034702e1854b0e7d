"""What the published networks share: the input, the top, and how weights come into them.

Every network names its layers as Keras does, where Keras has it, and knows the names that PyTorch's files use
(`model.torch_names`), so that both kinds of files load.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from minitl.graph.value import Value
from minitl.layers import Dense, Dropout, GlobalAveragePooling2D, GlobalMaxPooling2D, Input
from minitl.models import Model

Border = tuple[tuple[int, int], tuple[int, int]]  # rows above and below, columns on the left and on the right


class Published(NamedTuple):
    """An official file: where it is, and the checksum that its publisher gives ("md5:...", "sha256:...")."""

    url: str
    checksum: str | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[1]


def published(url: str, whole: str, without_top: str, ending: str = "_notop") -> dict[str, Published]:
    """Keras's two files of a network, `url`.h5 and the one whose name ends in `ending`.h5, with their MD5 checksums."""
    return {
        "imagenet": Published(f"{url}.h5", f"md5:{whole}"),
        "imagenet without top": Published(f"{url}{ending}.h5", f"md5:{without_top}"),
    }


def member(family: Callable[..., Model], kind: int | str, name: str) -> Callable[..., Model]:
    """A network of a family under its own name: the family's function with its first argument given."""
    network: Any = functools.partial(family, kind)
    network.__name__ = network.__qualname__ = name
    network.__doc__ = family.__doc__
    return network


def image_input(
    input_shape: Any, size: int, include_top: bool, weights: Any, smallest: int = 32, input_tensor: Any = None
) -> Value:
    """The network's input: images of `input_shape`, by default (size, size, 3).

    Errors: ValueError for images that are too small, and for other channels than 3 with published weights.
    """
    if input_tensor is not None:
        if not isinstance(input_tensor, Value):
            raise TypeError(f"input_tensor must be a value, such as Input((224, 224, 3)), got {type(input_tensor).__name__}")
        return input_tensor
    shape = image_shape(input_shape, size, include_top, smallest)
    if isinstance(weights, str) and weights == "imagenet" and shape[2] != 3:
        raise ValueError(f"weights='imagenet' are for images of 3 channels, got input_shape {shape}")
    return Input(shape)


def image_shape(input_shape: Any, size: int, include_top: bool, smallest: int) -> tuple[int | None, ...]:
    """The shape of a network's images: as given, or (size, size, 3) where a top needs to know it, or open.

    Errors: ValueError for another number of axes, or images that are too small.
    """
    shape = (size, size, 3) if input_shape is None and include_top else tuple(input_shape or (None, None, 3))
    if len(shape) != 3:
        raise ValueError(f"input_shape must be (height, width, channels), got {input_shape}")
    if any(n is not None and n < smallest for n in shape[:2]):
        raise ValueError(f"input_shape {shape} is too small: height and width must be at least {smallest}")
    return shape


def border(x: Value, window: int, around: bool = False) -> Border:
    """Zeros for a stride of 2: on odd sizes as many in front as behind, on even ones one fewer, or the same all around.

    The first is what Keras's networks have, the other what torchvision's have.
    """
    half = window // 2
    rows, columns = ((half if around or (n is not None and n % 2) else half - 1, half) for n in x.shape[1:3])
    return rows, columns


def top(
    x: Value,
    include_top: bool,
    pooling: str | None,
    classes: int,
    activation: Any,
    dropout: float = 0.0,
    pool_name: str | None = None,
    name: str = "predictions",
) -> Value:
    """The classifier behind the features, or what `pooling` says: None, "avg" or "max".

    Errors: ValueError for another pooling.
    """
    if include_top:
        x = GlobalAveragePooling2D(name=pool_name)(x)
        if dropout:
            x = Dropout(dropout, name="top_dropout")(x)
        return Dense(classes, activation=activation, name=name)(x)
    return pooled(x, pooling)


def pooled(x: Value, pooling: str | None) -> Value:
    """The features, or their mean or maximum over the image.

    Errors: ValueError for another pooling.
    """
    if pooling not in (None, "avg", "max"):
        raise ValueError(f'pooling must be None, "avg" or "max", got {pooling!r}')
    return x if pooling is None else (GlobalAveragePooling2D if pooling == "avg" else GlobalMaxPooling2D)()(x)


def published_size(inputs: Value, sizes: tuple[int, ...]) -> int:
    """For which size of images the published weights are: the network's own, if it is square and one of theirs, else 224."""
    rows, columns = inputs.shape[1:3]
    return rows if rows is not None and rows == columns and rows in sizes else 224


def is_of_torch(weights: Any) -> bool:
    """Whether weights are a file in PyTorch's names, whose networks differ from Keras's in details."""
    if not str(weights).lower().endswith(".safetensors"):
        return str(weights).lower().endswith((".pth", ".pt", ".th"))
    from minitl.interop.needs import need

    try:
        with need("safetensors").safe_open(os.fspath(weights), "np") as file:
            return not any("/" in name for name in file.keys())  # noqa: SIM118 - it is no dictionary
    except Exception:  # whoever loads it says what is wrong with it
        return False


def finish(
    inputs: Value,
    outputs: Value,
    name: str,
    weights: Any,
    files: dict[str, Published],
    torch_names: Callable[[str], str | None] | None = None,
    include_top: bool = True,
    classes: int = 1000,
) -> Model:
    """The model, with its weights: None, the name of published ones, or a file of any format that `minitl.interop` reads.

    A file that has weights for the top is taken without them when the network has none.
    Errors: ValueError for unknown weights, or a file of another network; OSError when a file cannot be fetched.
    """
    model = Model(inputs, outputs, name=name)
    if torch_names is not None:
        found = {path: torch_names(path) for path, _ in model.named_layers()}
        model.torch_names = {path: theirs for path, theirs in found.items() if theirs is not None}
    if weights is None:
        return model
    if isinstance(weights, str) and not os.path.exists(weights) and not os.path.splitext(weights)[1]:
        key = weights if include_top or f"{weights} without top" not in files else f"{weights} without top"
        if key not in files:
            known = sorted({k.split(" ")[0] for k in files})
            raise ValueError(f"{name}: weights must be None, a file, or one of {known}, got {weights!r}")
        if include_top and classes != files_classes(weights):
            raise ValueError(f"{name}: weights={weights!r} has {files_classes(weights)} classes, got classes={classes}")
        weights = official(files[key])
    from minitl.interop import load_any

    load_any(model, weights, top_missing_ok=not include_top)
    return model


def official(file: Published) -> Any:
    """The path of an official file: fetched once, with its checksum checked.

    Errors: OSError that says which file to put where.
    """
    from minitl.datasets.download import data_folder, fetched

    folder = data_folder() / "weights"
    return fetched(file.url, file.checksum, folder, file.name, "")


def files_classes(weights: str) -> int:
    """How many classes published weights tell apart."""
    return {"imagenet": 1000, "cifar10": 10}[weights]
