"""Layers of one's own, as Keras's guides write them, in files of Keras: written and read, here and there."""

import importlib

import numpy as np
import pytest

from minitl import Input, layers
from minitl.models import Sequential, load_model

random = np.random.default_rng(0)
X = random.random((16, 5, 4)).astype(np.float32)


def classes(library):
    """The classes of a program, for Keras or for what answers to its name."""

    class Block(library.layers.Layer):
        """A weight of its own, layers in attributes, in a list and in a model; what it was made with is kept elsewhere."""

        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self._units = units
            self.dense = library.layers.Dense(units, activation="relu")
            self.inner = library.Sequential([library.layers.Dense(units), library.layers.Dense(3)])
            self.blocks = [library.layers.Dense(3), library.layers.Dense(3, activation="tanh")]

        def build(self, input_shape):
            self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

        def call(self, x):
            x = self.inner(self.dense(x * self.scale))
            for block in self.blocks:
                x = block(x)
            return x

        def get_config(self):
            return {**super().get_config(), "units": self._units}

    class Residual(library.layers.Layer):
        """Takes another layer, and says how that goes into a file."""

        def __init__(self, inner, scale=1.0, **kwargs):
            super().__init__(**kwargs)
            self.inner, self.scale = inner, scale

        def call(self, x):
            return self.inner(x) * self.scale + x

        def get_config(self):
            return {**super().get_config(), "inner": library.layers.serialize(self.inner), "scale": self.scale}

        @classmethod
        def from_config(cls, config):
            return cls(library.layers.deserialize(config.pop("inner")), **config)

    return {"Block": Block, "Residual": Residual}


def program(library):
    """A trained model with layers of both classes, and the classes."""
    own = classes(library)
    x = library.Input((5, 4))
    inner = library.layers.Dense(4, kernel_initializer="he_normal", kernel_regularizer=library.regularizers.L2(1e-3))
    y = library.layers.GlobalAveragePooling1D()(own["Block"](6)(own["Residual"](inner, scale=0.5)(x)))
    model = library.Model(x, y)
    model.compile("adam", "mean_squared_error")
    model.fit(X, random.random((16, 3)), epochs=2, verbose=0)
    return model, own


@pytest.mark.parametrize("ending", [".keras", ".h5", ".npz"])
@pytest.mark.filterwarnings("ignore")
def test_layers_of_ones_own_come_back(ending, tmp_path):
    model, own = program(importlib.import_module("minitl"))
    model.save(tmp_path / f"model{ending}")
    again = load_model(tmp_path / f"model{ending}", custom_objects=own)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.layers[1].scale == 0.5 and type(again.layers[1].inner) is layers.Dense
    with pytest.raises(ValueError, match=r"Residual.*your own go into custom_objects"):
        load_model(tmp_path / f"model{ending}")


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize(("writer", "reader"), [("minitl", "keras"), ("keras", "minitl")])
@pytest.mark.filterwarnings("ignore")
def test_layers_of_ones_own_go_from_one_library_to_the_other(writer, reader, ending, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("keras")
    model, _ = program(importlib.import_module(writer))
    model.save(tmp_path / f"model{ending}")
    there = importlib.import_module(reader)
    again = there.models.load_model(tmp_path / f"model{ending}", custom_objects=classes(there))
    np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0), atol=1e-5)
    assert again.layers[1].scale == 0.5 and again.layers[1].inner.units == 4


def shifted(x):
    return x + 1.0


class Plain(layers.Layer):
    """What it was made with is found by itself: a layer, two functions, a pair."""

    def __init__(self, inner, activation, function, shape=(1, 2), **kwargs):
        super().__init__(**kwargs)
        self.inner, self.activation, self.function, self.shape = inner, activation, function, shape

    def call(self, x):
        return self.function(self.activation(self.inner(x)))


@pytest.mark.parametrize("ending", [".keras", ".h5", ".npz"])
def test_layers_and_functions_that_a_layer_was_made_with_come_back(ending, tmp_path):
    model = Sequential([Input((4,)), Plain(layers.Dense(3, use_bias=False), shifted, shifted, shape=(3, 4))])
    model.save(tmp_path / f"model{ending}")
    again = load_model(tmp_path / f"model{ending}", custom_objects={"Plain": Plain, "shifted": shifted})
    np.testing.assert_array_equal(again.predict(X[:, 0]), model.predict(X[:, 0]))
    assert again.layers[-1].inner.use_bias is False and tuple(again.layers[-1].shape) == (3, 4)


def test_what_keras_3_describes_is_made_with_or_without_a_module():
    initializers = importlib.import_module("minitl.initializers")
    described = {"class_name": "HeNormal", "config": {"seed": 3}}
    for entry in (described, {**described, "module": "keras.initializers", "registered_name": None}):
        assert initializers.deserialize(entry).seed == 3
    for more in ({}, {"module": "keras.layers", "registered_name": None, "build_config": {"input_shape": [None, 3]}}):
        dense = layers.deserialize({"class_name": "Dense", "config": {"units": 5, "name": "own", "trainable": False}, **more})
        assert type(dense) is layers.Dense and (dense.units, dense.name, dense.trainable) == (5, "own", False)


def test_a_layer_with_a_backward_pass_of_its_own_has_no_place_in_a_file_of_keras(tmp_path):
    class Double(layers.Layer):
        def forward(self, x, training=False):
            return 2 * x

        def backward(self, dy, need_dx=True):
            return 2 * dy

    model = Sequential([layers.Dense(2, input_shape=(3,)), Double()])
    with pytest.raises(ValueError, match="Keras does not have this layer"):
        model.save(tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())


class Doubled(layers.Layer):
    """Its settings in files are others than its constructor's arguments."""

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, x):
        return x * self.scale

    def get_config(self):
        return {"name": self.name, "half": self.scale / 2}

    @classmethod
    def from_config(cls, config):
        return cls(config.pop("half") * 2, **config)


@pytest.mark.parametrize("ending", [".keras", ".h5", ".npz"])
@pytest.mark.filterwarnings("ignore")
def test_a_from_config_is_what_makes_the_layer(ending, tmp_path):
    model = Sequential([layers.Input((4,)), layers.Dense(3), Doubled(3.0)])
    model.save(tmp_path / f"model{ending}")
    again = load_model(tmp_path / f"model{ending}", custom_objects={"Doubled": Doubled})
    x = random.random((2, 4))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.layers[1].scale == 3.0
