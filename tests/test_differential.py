"""Drawn networks, the same in Keras 3 on its torch backend: predictions, three steps of training, predictions after them.

    python -m pytest tests/test_differential.py -m nightly        400 of them; without the marker, 40

In float64, but for what Keras computes in float32 nevertheless. Keras on TensorFlow is no reference: it clips the gradient of
each word's row apart.
"""

import numpy as np
import pytest
from drawn_networks import Library, build, compiled, data

import minitl
from minitl import layers, losses, models, optimizers, schedules

keras = pytest.importorskip("keras", reason="compared with Keras")
if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend here", allow_module_level=True)
OURS = Library(layers, models, losses, optimizers, schedules)
THEIRS = Library(keras.layers, keras.models, keras.losses, keras.optimizers, keras.optimizers.schedules)


@pytest.fixture(autouse=True)
def double_precision():
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


def outputs_of(model, x):
    found = model.predict_on_batch(x)
    return [np.asarray(part) for part in (found if isinstance(found, list) else [found])]


def agree(seed):
    keras.utils.set_random_seed(seed)
    minitl.set_random_seed(seed)
    theirs, ours = build(THEIRS, seed), build(OURS, seed)
    ours = ours._replace(model=ours.model.astype("float64"))
    drawn = np.random.default_rng([seed, 3])
    for layer in theirs.model.layers:
        start = [np.asarray(w) + (drawn.uniform(0, 0.2, w.shape) if w.ndim == 1 else 0) for w in layer.get_weights()]
        layer.set_weights(start)
        if start:
            ours.model.get_layer(layer.name).set_weights(start)
    x, y, weights = data(theirs, seed)
    compiled(THEIRS, theirs, seed)
    compiled(OURS, ours, seed)

    def same(what, tolerance):
        for mine, other in zip(outputs_of(ours.model, x), outputs_of(theirs.model, x), strict=True):
            np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance / 50, err_msg=f"seed {seed}: {what}")

    same("predictions", 1e-4)
    for step in range(3):
        mine, other = (np.ravel(one.model.train_on_batch(x, y, sample_weight=weights))[0] for one in (ours, theirs))
        assert float(mine) == pytest.approx(float(other), rel=1e-4, abs=1e-6), f"seed {seed}: loss of step {step}"
    same("predictions after three steps", 1e-3)  # centered RMSprop makes rounding large


@pytest.mark.parametrize("seed", range(40))
def test_drawn_networks_are_keras_s(seed):
    agree(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(40, 400))
def test_more_drawn_networks_are_keras_s(seed):
    agree(seed)
