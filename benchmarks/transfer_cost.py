"""What freezing saves on the classic network: a full step, a step with a frozen base, an epoch on cached features.

python benchmarks/transfer_cost.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import time

import harness

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    harness.prepare()

    import numpy as np
    import workloads
    from engines import Minitl

    from minitl.losses import SparseCategoricalCrossentropy
    from minitl.models import Sequential
    from minitl.optimizers import Adam
    from minitl.transfer import freeze

    layers, shape = workloads.NETWORKS["classic"]
    samples = 2048
    x, y = workloads.data(shape, samples)
    models = {}
    for name in ("full", "frozen base"):
        models[name] = Minitl(layers, shape, workloads.weights(layers, shape), x, y).model
    freeze(models["frozen base"], [layer.name for layer in models["frozen base"].layers[:-1]])
    base = Sequential(models["frozen base"].layers[:-1])
    head = Sequential(Minitl(layers, shape, workloads.weights(layers, shape), x, y).model.layers[-1:])
    head.compile(Adam(1e-3), SparseCategoricalCrossentropy(from_logits=True))
    features = base.predict(x, batch_size=256)
    models["cached features"] = head

    kept: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(arguments.rounds):
        for name, model in models.items():
            started = time.perf_counter()
            model.fit(features if name == "cached features" else x, y, batch_size=128, shuffle=False, verbose=0)
            kept[name].append(time.perf_counter() - started)
    medians = {name: float(np.median(values)) for name, values in kept.items()}
    print(f"an epoch of {samples} pictures, batch 128, only the last dense layer trained but for 'full'")
    for name, seconds in medians.items():
        print(f"  {name:<18}{1e3 * seconds:9.2f} ms   full / this {medians['full'] / seconds:6.1f}")
    harness.save("transfer_cost", [kept])
