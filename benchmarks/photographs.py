"""`minitl train` on folders of generated JPEGs: does its memory grow with the folder, and how fast are its features?

    python benchmarks/photographs.py                    2,000 and 20,000 photographs of 160 pixels: half an hour
    python benchmarks/photographs.py --counts 200 2000 --size 96 --tune
    python benchmarks/photographs.py --features 384 --size 224        photographs per second, beside PyTorch

The features are EfficientNet-Lite0's; PyTorch runs a twin of the same network in both layouts, on images from the same decoder,
all in one process, in turn, with two threads.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import numpy as np

QUIET = {**os.environ, "MINITL_QUIET": "1"}  # what is printed are numbers
PROGRAM = """
import json, resource, sys, time
from minitl import photographs
begun = time.perf_counter()
result = photographs.train(sys.argv[1], sys.argv[2], size=int(sys.argv[3]), tune=sys.argv[4] == "True", say=lambda text: None)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([peak, time.perf_counter() - begun, result.accuracy]))
"""


def generate(folder: Path, count: int, size: int) -> None:
    """Photographs of two kinds, noise with stripes one way or the other."""
    from PIL import Image

    for number in range(count):
        drawn = np.random.default_rng(number)
        place = np.arange(size)[:, None, None] if number % 2 else np.arange(size)[None, :, None]
        waves = 60 * np.sin(place * drawn.uniform(0.2, 0.5) + drawn.uniform(0, 6))
        pixels = np.clip(128 + waves + drawn.normal(0, 60, (size, size, 3)), 0, 255).astype(np.uint8)
        path = folder / ("across" if number % 2 else "along") / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=85)


def compare(count: int, size: int, rounds: int = 3) -> list[dict]:
    """Photographs per second from files to features, median of some rounds."""
    import torch
    from applications import twin

    from minitl.applications import efficientnet_lite
    from minitl.photographs.images import batches

    base = efficientnet_lite.EfficientNetLite0(include_top=False, pooling="avg", input_shape=(size, size, 3))
    torch.set_num_threads(harness.THREADS)
    nets = {name: twin(base).eval() for name in ("torch NCHW", "torch channels_last")}
    nets["torch channels_last"].to(memory_format=torch.channels_last)

    def features(name: str, images: np.ndarray) -> np.ndarray:
        x = base.preprocessing(images)
        if name == "minitl":
            return base.predict_on_batch(x)
        layout = torch.channels_last if name.endswith("last") else torch.contiguous_format
        seen = torch.from_numpy(np.ascontiguousarray(x)).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        with torch.inference_mode():
            return nets[name](seen).numpy()

    speeds: dict[str, list[float]] = {name: [] for name in ("minitl", *nets)}
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), count, 2 * size)
        paths = [str(path) for path in sorted(Path(folder).glob("*/*.jpg"))]
        first = [features(name, next(batches(paths, size))[0]) for name in speeds]
        assert all(np.abs(one - first[0]).max() < 1e-3 * np.abs(first[0]).max() for one in first), "the networks differ"
        for _ in range(rounds):
            for name, taken in speeds.items():
                begun = time.perf_counter()
                for images, _ in batches(paths, size):
                    features(name, images)
                taken.append(count / (time.perf_counter() - begun))
    rows = [{"name": name, "photographs per second": statistics.median(taken)} for name, taken in speeds.items()]
    for row in rows:
        print(f"{row['name']:<20} {row['photographs per second']:6.1f} photographs per second")
    ours, best = rows[0]["photographs per second"], max(row["photographs per second"] for row in rows[1:])
    print(f"ours / better PyTorch: {ours / best:.2f}")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--features", type=int, metavar="COUNT", help="compare the rate of features instead")
    arguments = parser.parse_args()
    if arguments.features:
        harness.save("photographs_features", compare(arguments.features, arguments.size))
        sys.exit()
    rows = []
    for count in arguments.counts:
        with tempfile.TemporaryDirectory() as folder:
            generate(Path(folder) / "photos", count, arguments.size)
            command = [
                sys.executable,
                "-c",
                PROGRAM,
                f"{folder}/photos",
                f"{folder}/m.npz",
                str(arguments.size),
                str(arguments.tune),
            ]
            peak, seconds, accuracy = json.loads(
                subprocess.run(command, env=QUIET, capture_output=True, text=True, check=True).stdout
            )
        rows.append({"name": f"{count} photographs", "peak MiB": peak, "seconds": seconds, "accuracy": accuracy})
        print(f"{count:>7} photographs  peak {peak:6.0f} MiB  {seconds:6.0f} s  {accuracy:.1f} %", flush=True)
    print(f"peak, last / first: {rows[-1]['peak MiB'] / rows[0]['peak MiB']:.2f}")
    harness.save("photographs", rows)
