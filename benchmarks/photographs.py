"""Memory and time of `minitl train` on folders of generated JPEGs: does it grow with the folder?

python benchmarks/photographs.py                    2,000 and 20,000 photographs of 160 pixels: half an hour
python benchmarks/photographs.py --counts 200 2000 --size 96 --tune
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
import numpy as np

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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--tune", action="store_true")
    arguments = parser.parse_args()
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
            peak, seconds, accuracy = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        rows.append({"name": f"{count} photographs", "peak MiB": peak, "seconds": seconds, "accuracy": accuracy})
        print(f"{count:>7} photographs  peak {peak:6.0f} MiB  {seconds:6.0f} s  {accuracy:.1f} %", flush=True)
    print(f"peak, last / first: {rows[-1]['peak MiB'] / rows[0]['peak MiB']:.2f}")
    harness.save("photographs", rows)
