"""Estimators of scikit-learn: its own checks, pipelines, grids, and photographs."""

import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="estimators need the extra sklearn")

from sklearn.datasets import load_digits, make_regression  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402
from test_photographs import draw  # noqa: E402

from minitl.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D  # noqa: E402
from minitl.models import Sequential  # noqa: E402
from minitl.sklearn import ImageClassifier, NetworkClassifier, NetworkRegressor  # noqa: E402

# Training by batches is not the same when a sample is there twice as when its weight is 2: other batches, other steps.
KNOWN = {"check_sample_weight_equivalence_on_dense_data"}


@pytest.mark.parametrize("estimator", [NetworkClassifier(epochs=30), NetworkRegressor(epochs=30)], ids=lambda e: type(e).__name__)
def test_scikit_learn_s_own_checks(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert set(failed) <= KNOWN, failed
    assert len(results) > 50


def test_pipelines_grids_and_cross_validation():
    x, y = load_digits(return_X_y=True)
    x, y = x[:500], y[:500]
    model = make_pipeline(StandardScaler(), NetworkClassifier(epochs=15))
    assert cross_val_score(model, x, y, cv=3).mean() > 0.88
    grid = GridSearchCV(NetworkClassifier(epochs=8), {"hidden": [(8,), (32,)]}, cv=2).fit(x, y)
    assert grid.best_params_["hidden"] == (32,)
    a, b = (NetworkClassifier(epochs=2, random_state=s).fit(x, y).predict_proba(x) for s in (1, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, NetworkClassifier(epochs=2, random_state=2).fit(x, y).predict_proba(x))
    x, t = make_regression(200, 5, noise=1, random_state=0)
    assert NetworkRegressor(epochs=100).fit(x, t).score(x, t) > 0.95


def convolutional(shape, outputs):
    return Sequential([Input(shape), Conv2D(8, 3, activation="relu"), MaxPooling2D(), Flatten(), Dense(outputs)])


def test_a_network_of_ones_own_on_images():
    x, y = load_digits(return_X_y=True)
    images = x.reshape(-1, 8, 8, 1)[:400] / 16
    names = np.array([f"digit {n}" for n in y[:400]])
    model = NetworkClassifier(convolutional, epochs=10).fit(images, names)
    assert model.score(images, names) > 0.9 and model.classes_[3] == "digit 3"
    assert model.predict_proba(images[:3]).sum(axis=1) == pytest.approx(1)


def test_photographs(tmp_path):
    paths, labels = [], []
    for kind, name in enumerate(("stripes", "blobs")):
        for i in range(8):
            paths.append(tmp_path / f"{name}{i}.jpg")
            draw(kind, i).save(paths[-1])
            labels.append(name)
    model = ImageClassifier(size=64, cache=tmp_path / "features").fit(paths, labels)
    assert model.score(paths, labels) == 1 and list(model.classes_) == ["blobs", "stripes"]
    arrays = [np.asarray(draw(kind, 30 + i)) for kind in (0, 1) for i in range(3)]
    assert ImageClassifier(size=64, strength=0.1).fit(arrays, [0, 0, 0, 1, 1, 1]).predict_proba(arrays).shape == (6, 2)
    many = [arrays[i % 6] for i in range(70)]  # more than go through the base at once
    few = model.predict_proba(arrays)
    np.testing.assert_allclose(model.predict_proba(many), few[np.arange(70) % 6], rtol=1e-4, atol=1e-6)
    (tmp_path / "bad.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="1 of 2 photographs cannot be read"):
        model.predict([paths[0], tmp_path / "bad.jpg"])
