"""Models whose inputs and outputs are dictionaries, against Keras's: data, losses, histories, files."""

import numpy as np
import pytest

import minitl
from minitl.models import clone_model, load_model, model_from_json

RANDOM = np.random.default_rng(0)
X = {key: RANDOM.normal(size=(8, 3)).astype(np.float32) for key in ("words", "kinds")}
Y = {"mood": RANDOM.normal(size=(8, 2)).astype(np.float32), "length": RANDOM.normal(size=(8, 1)).astype(np.float32)}


def network(package):
    """The keys are not the names of the layers."""
    a, b = package.Input((3,), name="a"), package.Input((3,), name="b")
    y = package.layers.Dense(2, name="y")(package.layers.Concatenate()([a, b]))
    return package.Model({"words": a, "kinds": b}, {"mood": y, "length": package.layers.Dense(1, name="z")(y)})


def compiled(model, package):
    losses, metrics = {"mood": "mse", "length": "mae"}, {"mood": ["mae"]}
    model.compile(package.optimizers.SGD(0.1), losses, metrics=metrics, loss_weights={"mood": 0.5, "length": 2.0})
    return model


def test_predictions_and_histories_have_the_keys_of_keras_s(tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    theirs = compiled(network(keras), keras)
    theirs.save(tmp_path / "theirs.keras")
    ours = load_model(tmp_path / "theirs.keras")
    assert ours.input_names == ["words", "kinds"] or sorted(ours.input_names) == ["kinds", "words"]
    ours.save(tmp_path / "ours.keras")
    back = keras.saving.load_model(tmp_path / "ours.keras")
    runs = [model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0).history for model in (theirs, ours, back)]
    for run in runs[1:]:
        assert run.keys() == runs[0].keys() == {"loss", "mood_loss", "mood_mae", "length_loss"}
        for name, values in run.items():
            assert values == pytest.approx(runs[0][name], rel=1e-4)
    for model in (ours, back):
        found, expected = model.predict(X, verbose=0), theirs.predict(X, verbose=0)
        assert found.keys() == expected.keys()
        for name, y in found.items():
            np.testing.assert_allclose(y, expected[name], rtol=1e-4, atol=1e-5)


def test_every_way_of_calling_gives_a_dictionary(tmp_path):
    model = compiled(network(minitl), minitl)
    model.fit(X, Y, epochs=1, verbose=0)
    expected = model.predict(X)
    assert list(expected) == ["mood", "length"]
    model.save(tmp_path / "m.npz")
    again = [load_model(tmp_path / "m.npz"), clone_model(model), model_from_json(model.to_json())]
    for other in again[1:]:
        other.set_weights(model.get_weights())
    for other in [model, *again]:
        for found in (other(X), other.predict_on_batch(X), other.predict(X, batch_size=3)):
            assert list(found) == ["mood", "length"]
            for name, y in found.items():
                np.testing.assert_allclose(y, expected[name], rtol=1e-5, atol=1e-6)
    inputs = {key: minitl.Input((3,)) for key in X}
    outer = minitl.Model(inputs, minitl.layers.Add()([model(inputs)["mood"], model(inputs)["length"]]))
    np.testing.assert_allclose(outer.predict(X), expected["mood"] + expected["length"], rtol=1e-5, atol=1e-6)
    assert model.evaluate(X, Y, return_dict=True, verbose=0).keys() == {"loss", "mood_loss", "length_loss", "mood_mae"}


def test_one_output_in_a_dictionary_and_those_of_a_call():
    x = minitl.Input((3,))
    single = minitl.Model(x, {"only": minitl.layers.Dense(2)(x)})
    assert single.predict(X["words"])["only"].shape == (8, 2)

    class Net(minitl.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = minitl.layers.Dense(4), minitl.layers.Dense(1)

        def call(self, x):
            return {"hidden": self.first(x["words"]), "end": self.last(self.first(x["kinds"]))}

    net = Net()
    assert {name: y.shape for name, y in net(X).items()} == {"hidden": (8, 4), "end": (8, 1)}
    net.compile("sgd", {"hidden": "mse", "end": "mse"})
    history = net.fit(X, {"hidden": np.ones((8, 4)), "end": np.ones((8, 1))}, verbose=0).history
    assert {"hidden_loss", "end_loss"} < history.keys()
    assert list(net.predict(X)) == ["hidden", "end"]


def test_other_names_are_refused(tmp_path):
    model = network(minitl)
    with pytest.raises(ValueError, match="the inputs are words, kinds, got a, b"):
        model.predict({"a": X["words"], "b": X["kinds"]})
    with pytest.raises(ValueError, match="unknown output in loss 'y'"):
        model.compile("sgd", {"y": "mse", "length": "mae"})
    config = model.get_config()
    for keys in (["mood"], ["mood", "mood"], "ab", [1, 2], 5):
        with pytest.raises(ValueError, match="its output_keys must be 2 different names"):
            minitl.Model.from_config({**config, "output_keys": keys})
