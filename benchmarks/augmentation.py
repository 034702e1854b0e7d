"""Augmentation: throughput against Keras and torchvision on one thread, what it adds to an epoch, and reading files.

    python benchmarks/augmentation.py [--folder data/cifar10/train] [--samples 2048]

1. The tutorial's arguments (shear, zoom, flip, rescale) on images of 32x32x3: this ImageDataGenerator, Keras's on the same
   arguments, and torchvision's v2 transforms (RandomAffine with shear and scale, bilinear; RandomHorizontalFlip; ToDtype with
   scale), one image at a time as its data loaders do. First it is checked that Keras's and ours give the same image for
   the same parameters.
2. The same warp with more in it: rotation + shift + zoom + flip together against flip alone.
3. An epoch of the classic network with augmentation against one without, two threads.
4. Files: a first pass over PNG files against Pillow alone on two threads, and the second pass against arrays in memory.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import harness

TUTORIAL = {"rescale": 1.0 / 255, "shear_range": 0.2, "zoom_range": 0.2, "horizontal_flip": True}
TOGETHER = {"rescale": 1.0 / 255, "rotation_range": 15, "width_shift_range": 0.1, "height_shift_range": 0.1, "zoom_range": 0.2,
            "horizontal_flip": True}  # fmt: skip


def main(arguments: argparse.Namespace) -> None:
    """Measure and print everything."""
    import numpy as np

    x = np.random.default_rng(0).integers(0, 256, (arguments.samples, 32, 32, 3), np.uint8)
    throughput(x)
    epoch(x)
    if arguments.folder:
        files(arguments.folder)


def throughput(x) -> None:
    """Images per second on one thread."""
    import numpy as np

    from minitl.preprocessing.image import ImageDataGenerator

    def ours(settings):
        flow = ImageDataGenerator(**settings).flow(x, batch_size=32, shuffle=True, seed=0)
        return lambda: sum(flow[i][0, 0, 0, 0] for i in range(len(flow)))

    runs = {"minitl": ours(TUTORIAL), "minitl, flip alone": ours({"rescale": 1 / 255, "horizontal_flip": True}),
            "minitl, five together": ours(TOGETHER)}  # fmt: skip
    fewer = x[:256]
    try:
        from keras.src.legacy.preprocessing.image import ImageDataGenerator as Keras

        check_same(Keras, ImageDataGenerator, x[0].astype(np.float32))
        theirs = Keras(**TUTORIAL).flow(fewer, batch_size=32, shuffle=True, seed=0)
        runs["keras"] = lambda: sum(theirs[i][0, 0, 0, 0] for i in range(len(theirs)))
    except ImportError as error:
        print(f"Keras is left out: {error}")
    try:
        import torch
        from torchvision.transforms import InterpolationMode, v2

        torch.set_num_threads(1)
        degrees = 0.2
        steps = v2.Compose([
            v2.RandomAffine(0, scale=(0.8, 1.2), shear=(-degrees, degrees), interpolation=InterpolationMode.BILINEAR),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
        ])  # fmt: skip
        tensors = [torch.from_numpy(picture).permute(2, 0, 1).contiguous() for picture in fewer]
        runs["torchvision v2"] = lambda: sum(float(steps(tensor)[0, 0, 0]) for tensor in tensors)
    except ImportError as error:
        print(f"torchvision is left out: {error}")
    kept: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(6):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn:
                count = len(x) if name.startswith("minitl") else len(fewer)
                kept[name].append((time.perf_counter() - started) / count * 1e6)
    medians = {name: float(np.median(values)) for name, values in kept.items()}
    print("\nmicroseconds per picture, one thread, 32x32x3")
    for name, value in medians.items():
        print(f"  {name:<24}{value:9.1f}   this / minitl {value / medians['minitl']:8.2f}")


def check_same(keras, ours, picture) -> None:
    """The same parameters give the same image."""
    import numpy as np

    settings = {**TOGETHER, "shear_range": 10, "vertical_flip": True, "rescale": None}
    worst = 0.0
    for seed in range(50):
        parameters = keras(**settings).get_random_transform(picture.shape, seed=seed)
        theirs = keras(**settings).apply_transform(picture.copy(), parameters)
        worst = max(worst, float(np.abs(theirs - ours(**settings).apply_transform(picture, parameters)).max()))
    print(f"largest difference to Keras's pictures on the same 50 sets of parameters, of 255: {worst:.6f}")
    assert worst < 0.01


def epoch(x) -> None:
    """What augmentation adds to an epoch."""
    import numpy as np

    from minitl.applications import classic
    from minitl.preprocessing.image import ImageDataGenerator

    y = np.random.default_rng(1).integers(0, 10, len(x))
    plain = x.astype(np.float32) / 255
    model = classic(10)
    model.compile("adam", "sparse_categorical_crossentropy")
    flow = ImageDataGenerator(**TUTORIAL).flow(x, y, batch_size=32, seed=0)
    kept: dict[str, list[float]] = {"arrays": [], "augmented": []}
    for turn in range(8):
        for name in kept:
            started = time.perf_counter()
            if name == "arrays":
                model.fit(plain, y, batch_size=32, verbose=0)
            else:
                model.fit(flow, verbose=0)
            if turn:
                kept[name].append(time.perf_counter() - started)
    a, b = (float(np.median(kept[name])) for name in ("arrays", "augmented"))
    print(f"\nan epoch of {len(x)} pictures, classic network, batch 32: {a:.3f} s from arrays, {b:.3f} s augmented: {b / a:.3f}")


def files(folder: str) -> None:
    """Reading a folder: the first pass and the second."""
    import numpy as np
    from PIL import Image

    from minitl.preprocessing.image import ImageDataGenerator

    flow = ImageDataGenerator(rescale=1 / 255).flow_from_directory(folder, target_size=(32, 32), batch_size=32, seed=0)

    def decode(paths):
        for path in paths:
            with Image.open(path) as image:
                image.load()

    decode(flow.filepaths)  # both sides read from the disk's cache
    started = time.perf_counter()
    decode(flow.filepaths)
    print(f"\nPillow alone on one thread: {time.perf_counter() - started:.2f} s")
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(decode, np.array_split(np.array(flow.filepaths), 200)))
    pillow = time.perf_counter() - started
    passes = []
    for _ in range(3):
        started = time.perf_counter()
        for _ in flow.one_pass():
            pass
        passes.append(time.perf_counter() - started)
    memory = ImageDataGenerator(rescale=1 / 255).flow(flow.kept, flow.targets, batch_size=32, seed=0)
    started = time.perf_counter()
    for _ in memory.one_pass():
        pass
    arrays = time.perf_counter() - started
    print(f"\n{flow.n} files: Pillow, two threads {pillow:.2f} s; first pass {passes[0]:.2f} s: {passes[0] / pillow:.2f} times")
    print(
        f"later passes {passes[1]:.2f}, {passes[2]:.2f} s; from arrays in memory {arrays:.2f} s: {passes[1] / arrays:.2f} times"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="image files in a folder for every class")
    parser.add_argument("--samples", type=int, default=2048)
    options = parser.parse_args()
    harness.prepare()
    main(options)
