"""Networks with branches: the same numbers as PyTorch, right gradients, the same with and without fusion, in both houses."""

import copy
import hashlib
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import NETWORKS, TorchGraph, build, data, random_graph
from rows import ROWS, small

import minitl
from minitl.gradcheck import check_gradients
from minitl.layers import (
    Activation,
    Add,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    Layer,
    MaxPooling2D,
    ReLU,
)
from minitl.layers.variable import array_of
from minitl.models import Model, Sequential, clone_model, load_model
from minitl.objective import forward_loss, trained_layers

LOSSES = {"two_and_two": ["sparse_categorical_crossentropy", "mse"], "siamese": "binary_crossentropy"}


def compiled(name, dtype=np.float64, **settings):
    model = build(name, dtype, **settings)
    model.compile(
        "sgd", LOSSES.get(name, "sparse_categorical_crossentropy"), loss_weights=[0.3, 2.0] if name == "two_and_two" else None
    )
    x = data(model)
    labels = np.arange(4) % model.outputs[0].shape[-1]
    y = {
        "siamese": np.array([[0.0], [1], [1], [0]]),
        "two_and_two": [labels, np.random.default_rng(1).standard_normal((4, 2))],
    }.get(name, labels)
    if name == "unet":
        y = np.random.default_rng(1).integers(0, 3, (4, 16, 16))
    return model, x, y


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-4)])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_outputs_losses_and_gradients_are_pytorch_s(name, dtype, tolerance, backend):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    F = torch.nn.functional
    model, x, y = compiled(name, dtype)
    twin = TorchGraph(model)
    theirs, logits = twin.outputs(model, [torch.tensor(part.astype(dtype)) for part in x], training=True)
    if name == "siamese":
        loss = F.binary_cross_entropy(theirs[0], torch.tensor(y.astype(dtype)))
    elif name == "two_and_two":
        loss = 0.3 * F.cross_entropy(logits[0], torch.tensor(y[0])) + 2 * F.mse_loss(theirs[1], torch.tensor(y[1].astype(dtype)))
    else:
        loss = F.cross_entropy(logits[0].reshape(-1, logits[0].shape[-1]), torch.tensor(y).reshape(-1))
    loss.backward()
    kept = copy.deepcopy(model)
    found = forward_loss(kept, trained_layers(kept), x if len(x) > 1 else x[0], y, None, training=True, keep=True)
    found.run.backward(found.output_gradients())
    assert found.total == pytest.approx(loss.item(), rel=tolerance)
    for ours, other in zip(found.predictions, theirs, strict=True):
        np.testing.assert_allclose(ours, other.detach().numpy(), rtol=0, atol=tolerance * float(np.abs(ours).max()))
    gradients = {f"{p}/{n}": g for p, l in kept.named_layers() for n, g in found.run.gradients.get(l, {}).items()}
    assert gradients.keys() == twin.leaves.keys()
    scale = max(float(np.abs(g).max()) for g in gradients.values())
    for key, gradient in gradients.items():
        np.testing.assert_allclose(gradient, twin.leaves[key].grad.numpy(), rtol=0, atol=tolerance * scale, err_msg=key)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_whole_gradient_is_checked(name, backend):
    settings = {"size": 8, "width": 4, "blocks": 1} if name == "resnet20" else {}
    model, x, y = compiled(name, **settings)
    x = x if len(x) > 1 else x[0]
    report = check_gradients(model, x, y=y, samples=3 if name == "mobilenet_v2" else 12)  # whose passes take longest
    assert all(tensor.ok or tensor.verdict.startswith("not checked") for tensor in report.tensors), report
    assert sum(tensor.checked for tensor in report.tensors) > 50
    check_gradients(model, x, samples=2 if name == "mobilenet_v2" else 6, training=False).raise_if_wrong()


def trained(model, x, y, updates=2):
    model.compile("sgd", ["sparse_categorical_crossentropy", "mse"][: len(model.outputs)])
    losses = [model.train_on_batch(x, y) for _ in range(updates)]
    made = model.predict(x)
    return losses, model.get_weights(), made if isinstance(made, list) else [made]


def agree(first, second, tolerance=1e-9):
    for a, b in zip(first, second, strict=True):
        for one, other in zip(a, b, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-7, atol=tolerance)


@pytest.mark.parametrize("seed", range(200))
def test_generated_graphs_agree_between_houses_and_with_fusion_on_and_off(seed):
    results = []
    for backend, fuse in (("numba", True), ("numba", False), ("numpy", False)):
        with minitl.use_backend(backend):
            minitl.set_random_seed(seed)
            model = random_graph(seed).astype(np.float64)
            model.fuse = fuse
            x = data(model, 3, seed)
            y = [np.arange(3), np.ones((3, 2))][: len(model.outputs)]
            results.append(trained(model, x if len(x) > 1 else x[0], y if len(y) > 1 else y[0]))
    agree(results[0], results[1])
    agree(results[0], results[2])


def test_needs_are_derived_on_every_branch():
    inputs = Input((8, 8, 3))
    left = Conv2D(4, 3, padding="same", name="left")(inputs)
    right = Conv2D(4, 3, padding="same", name="right")(inputs)
    right = Conv2D(4, 1, name="above")(right)
    model = Model(inputs, Dense(2, name="head")(GlobalAveragePooling2D()(Add()([left, right]))))
    for name in ("left", "right"):
        model.get_layer(name).trainable = False
    plan = model.new_run(keep=True).plan
    asked = {step.layers[0].name: (step.keep, step.need.dx) for step in plan.steps}
    assert asked["left"] == asked["right"] == (False, False)
    assert asked["above"] == (True, False)
    assert asked["add"] == (True, (False, True))
    assert asked["head"] == (True, True)


def test_a_plan_sees_flags_of_layers_that_a_user_s_layer_holds():
    class Holder(Layer):
        def __init__(self):
            self.inner = Dense(4)

        def forward(self, x, training):
            return self.inner(x, training)

        def backward(self, dy):
            return self.inner.backward(dy)

    holder = Holder()
    model = Sequential([Input((4,)), holder, Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = np.random.default_rng(0).random((6, 4)), np.arange(6) % 2
    before = holder.inner.get_weights()[0]
    holder.inner.trainable = False
    model.train_on_batch(x, y)
    np.testing.assert_array_equal(holder.inner.get_weights()[0], before)
    holder.inner.trainable = True
    model.train_on_batch(x, y)
    assert (holder.inner.get_weights()[0] != before).any()


def test_shared_layers_add_their_gradients():
    shared = Dense(3, use_bias=False, name="shared")
    a, b = Input((4,)), Input((4,))
    model = Model([a, b], Add()([shared(a), shared(b)]))
    x = data(model)
    run = model.new_run(keep=True, need_dx=True)
    run.forward(model.prepare(x))
    dy = np.ones((4, 3), np.float32)
    dx = run.backward([dy])
    np.testing.assert_allclose(run.gradients[shared]["kernel"], (x[0] + x[1]).T @ dy, rtol=1e-5)
    np.testing.assert_array_equal(dx[0], dx[1])
    assert model.count_params() == 12 and len(model.weights) == 1


def test_feature_models_and_transfer_s_idiom(tmp_path):
    base = build("resnet20", np.float32)
    features = Model(base.input, [layer.output for layer in base.layers[1:6]])
    x = data(base)[0]
    made = features.predict(x)
    assert [m.shape[1:] for m in made] == [tuple(layer.output_shape[1:]) for layer in base.layers[1:6]]
    top = base.layers[-2].output
    model = Model(base.input, Dense(3, activation="softmax", name="new_head")(top))
    for layer in model.layers[:-1]:
        layer.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    before = base.get_weights()
    model.fit(x, np.arange(4) % 3, epochs=2, verbose=0)
    for a, b in zip(before, base.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    nested = Sequential([base, Dense(3)])
    nested.predict(x)
    inputs = Input((16, 16, 3))
    frozen = Model(inputs, Dense(2)(base(inputs, training=False)))
    moved = [layer.state["moving_mean"].copy() for _, layer in base.named_layers() if layer.state]
    base.trainable = True
    frozen.compile("sgd", "mse")
    frozen.fit(x, np.zeros((4, 2)), verbose=0)
    for a, (_, layer) in zip(moved, [(p, l) for p, l in base.named_layers() if l.state], strict=True):
        np.testing.assert_array_equal(a, layer.state["moving_mean"])  # called with training=False
    frozen.save(tmp_path / "m.npz")
    np.testing.assert_array_equal(load_model(tmp_path / "m.npz").predict(x), frozen.predict(x))
    assert load_model(tmp_path / "m.npz").graph.nodes[0].training is False


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_files_and_copies(name, tmp_path):
    import pickle

    model, x, y = compiled(name, np.float32)
    x = x if len(x) > 1 else x[0]
    model.train_on_batch(x, y)
    model.save(tmp_path / "m.npz")
    expected = model.predict(x)
    for twin in (load_model(tmp_path / "m.npz"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        alike(expected, twin.predict(x))
        assert twin.train_on_batch(x, y) == copy.deepcopy(model).train_on_batch(x, y)
    fresh = clone_model(model)
    assert [w.shape for w in fresh.weights] == [w.shape for w in model.weights]
    fresh.set_weights(model.get_weights())
    alike(expected, fresh.predict(x))


def alike(first, second):
    for a, b in zip(*(made if isinstance(made, list) else [made] for made in (first, second)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_lists_and_dictionaries_of_data():
    model, x, y = compiled("two_and_two", np.float32)
    model.compile("sgd", {"kind": "sparse_categorical_crossentropy", "place": "mse"}, metrics={"kind": "accuracy"})
    named_x, named_y = dict(zip(("image", "row"), x, strict=True)), dict(zip(("kind", "place"), y, strict=True))
    weights = model.get_weights()
    results = []
    for given_x, given_y in ((x, y), (tuple(x), tuple(y)), (named_x, named_y)):
        model.set_weights(weights)
        history = model.fit(
            given_x, given_y, batch_size=2, epochs=2, shuffle=False, verbose=0, validation_data=(given_x, given_y)
        )
        results.append(history.history)
        assert set(history.history) == {p + n for p in ("", "val_") for n in ("loss", "kind_loss", "place_loss", "kind_accuracy")}
        assert [p.shape for p in model.predict(given_x, verbose=0)] == [(4, 3), (4, 2)]
    assert results[0] == results[1] == results[2]
    assert model.evaluate(named_x, named_y, verbose=0) == model.evaluate(x, y, verbose=0)
    weighted = model.evaluate(x, y, sample_weight=[np.zeros(4), np.ones(4)], verbose=0, return_dict=True)
    assert weighted["kind_loss"] == 0 and weighted["place_loss"] > 0

    def batches():
        while True:
            yield named_x, named_y

    model.fit(batches(), steps_per_epoch=2, verbose=0)
    split = model.fit(x, y, validation_split=0.5, verbose=0).history
    assert "val_kind_accuracy" in split


def test_a_loss_weight_of_zero_and_outputs_without_a_loss():
    model, x, y = compiled("two_and_two")
    only = model.predict(x)
    model.compile("sgd", ["sparse_categorical_crossentropy", None])
    assert set(model.fit(x, [y[0], None], verbose=0).history) == {"loss", "kind_loss", "place_loss"}
    assert (model.get_layer("place").get_weights()[0] == build("two_and_two").get_layer("place").get_weights()[0]).all()
    assert (model.predict(x)[0] != only[0]).any()


class Twice(Layer):
    def forward(self, x, training):
        self.x = x
        return 2 * x

    def backward(self, dy):
        return 2 * dy


def test_bad_graphs_are_told():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    own = Twice()
    model = Model(a, Dense(2)(a))
    cases = [
        (lambda: Model([a, b], Dense(2)(a)), ValueError, "no output depends on the input .*'b'"),
        (lambda: Model(a, Add()([a, b])), ValueError, "outputs need .*'b'.* which is not among the inputs"),
        (lambda: Model(a, Add()([own(a), own(a)])), ValueError, "is used 2 times in this model.*make one layer for each use"),
        (lambda: Add()([a, Input((5,))]), ValueError, r"Add.*expected shape.*\(None, 5\).*make them alike"),
        (lambda: Concatenate(axis=1)([Input((3, 4)), Input((3, 5))]), ValueError, r"Concatenate.*but for axis 1.*\(None, 3, 5\)"),
        (lambda: Add()([a]), ValueError, "merges at least two values, got 1"),
        (lambda: Add()([a, np.ones((2, 4))]), TypeError, "not a mixture of both"),
        (lambda: Dense(2)([a, b]), ValueError, "takes one value, got 2; merge them first"),
        (lambda: Model(np.ones((2, 4)), a), TypeError, "inputs must be values, got ndarray"),
        (lambda: Model([a, a], Dense(2)(a)), ValueError, "an input is given twice"),
        (lambda: np.cbrt(a), TypeError, "hold no numbers yet"),
        (lambda: Dense(2).output, ValueError, "has no input and output yet"),
        (lambda: model([np.ones((2, 4)), np.ones((2, 4))]), ValueError, "expected 1 inputs|takes|holds|expected shape"),
        (lambda: model({"c": np.ones((2, 4))}), ValueError, "the inputs are a, got c"),
        (lambda: model.compile("sgd", {"nope": "mse"}), ValueError, "unknown output in loss 'nope'"),
        (lambda: model.compile("sgd", ["mse", "mse"]), ValueError, "2 entries in loss for 1 outputs"),
        (lambda: compiled("two_and_two")[0].compile("sgd", ["mse"]), ValueError, "1 entries in loss for 2 outputs"),
        (lambda: Model(a, Dense(2, name="a")(a)), ValueError, "a layer named 'a' already"),
        (lambda: Input(4), ValueError, "must be a tuple, one sample's without the batch"),
    ]
    for make, error, message in cases:
        with pytest.raises(error, match=message):
            make()

    class Subclass(Model):
        def call(self, x):
            return 5

    with pytest.raises(TypeError, match=r"call\(\) must return what its layers give, got int"):
        Subclass()(np.ones((2, 4)))
    two = compiled("two_and_two")
    with pytest.raises(ValueError, match="unknown output in y 'nope'"):
        two[0].fit(two[1], {"nope": two[2][0]}, verbose=0)
    with pytest.raises(ValueError, match="expected one array for each of the 2 outputs"):
        two[0].fit(two[1], [two[2][0]], verbose=0)


def test_a_user_s_layer_may_take_only_x_or_training_by_name():
    class Scaled(Layer):
        def forward(self, x, scale=2.0):
            return x * scale

        def backward(self, dy):
            return dy * 2

    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(Sequential([Input((3,)), Scaled()]).predict(x), 2 * x)


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c["nodes"][0]["inputs"].__setitem__(0, 99),
        lambda c: c["nodes"][0]["inputs"].__setitem__(0, 1),  # itself
        lambda c: c["nodes"][0].__setitem__("layer", 77),
        lambda c: c["nodes"][0].__setitem__("layer", 0),  # the input
        lambda c: c["nodes"][1]["inputs"].append(0),
        lambda c: c["outputs"].__setitem__(0, 55),
        lambda c: c["inputs"].append(3),
        lambda c: c.__setitem__("nodes", []),
        lambda c: c["layers"][1].__setitem__("class_name", "Popen"),
    ],
)
def test_a_damaged_graph_in_a_file(tmp_path, damage):
    from minitl import weights

    model = build("inception", np.float32)
    model.save(tmp_path / "m.npz")
    arrays, config = weights.read(tmp_path / "m.npz")
    damage(config["model"]["config"])
    weights.write(tmp_path / "m.npz", arrays, config)
    with pytest.raises(ValueError, match="cannot be rebuilt"):
        load_model(tmp_path / "m.npz")


def test_a_small_file_cannot_ask_for_much_memory(tmp_path):
    from minitl import weights

    model = Sequential([Input((4,)), Dense(3)])
    model.save(tmp_path / "m.npz")
    arrays, config = weights.read(tmp_path / "m.npz")
    config["model"]["config"]["layers"][0]["config"]["units"] = 10**9
    weights.write(tmp_path / "m.npz", arrays, config)
    with pytest.raises(ValueError, match="is more than the file holds"):
        load_model(tmp_path / "m.npz")


def test_files_of_format_1_load_and_go_on():
    from pathlib import Path

    folder = Path(__file__).parent / "data"
    expected = np.load(folder / "format1_expected.npz")
    model = load_model(folder / "format1.npz")
    with minitl.use_backend("numba"):
        np.testing.assert_allclose(model.predict(expected["x"]), expected["p"], rtol=1e-5, atol=1e-7)
        assert [model.train_on_batch(expected["x"], expected["y"])[0] for _ in range(3)] == pytest.approx(
            expected["losses"].tolist()
        )
        np.testing.assert_allclose(model.predict(expected["x"]), expected["after"], rtol=1e-4, atol=1e-6)
    assert not model.get_layer("top").trainable and model.preprocessing is not None


# Threads.


def busy_network(dtype=np.float32):
    minitl.set_random_seed(1)
    inputs = x = Input((12, 12, 3))
    x = ReLU()(BatchNormalization()(Conv2D(8, 3, padding="same")(x)))
    y = Conv2D(8, 3, padding="same", activation="relu")(x)
    x = MaxPooling2D()(Conv2D(16, 3, activation="relu")(Add()([x, y])))
    x = BatchNormalization()(Conv2D(6, 3)(x))
    return Model(inputs, Dense(4, activation="softmax")(Dropout(0.2)(Flatten()(x)))).astype(dtype)


def test_eight_threads_predict_with_one_model():
    model = busy_network()
    batches = [np.random.default_rng(i).standard_normal((1 + i % 5, 12, 12, 3)) for i in range(10)]
    expected = [model.predict(x, verbose=0) for x in batches]

    def work(number):
        wrong = 0
        for i in range(250):
            k = (number * 7 + i) % len(batches)
            wrong += not np.array_equal(model.predict(batches[k], verbose=0), expected[k])
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 0


def bits(model):
    return hashlib.sha256(b"".join(w.tobytes() for w in model.weights)).hexdigest()


def training_task(seed):
    minitl.set_random_seed(seed)
    model = busy_network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    generator = np.random.default_rng(seed)
    x, y = generator.standard_normal((96, 12, 12, 3)).astype(np.float32), np.arange(96) % 4
    return model, x, y


def test_two_threads_train_two_models():
    def train(task):
        model, x, y = task
        model.fit(x, y, epochs=4, batch_size=16, shuffle=False, verbose=0)
        return bits(model)

    alone = [train(training_task(seed)) for seed in (1, 2)]
    tasks = [training_task(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(train, tasks)) == alone


def test_predicting_during_training_changes_nothing():
    model, x, y = training_task(3)
    model.fit(x, y, epochs=4, batch_size=16, shuffle=False, verbose=0)
    expected = bits(model)
    model, x, y = training_task(3)
    done, errors = threading.Event(), []

    def watch():
        while not done.is_set():
            try:
                assert model.predict(x[:5], verbose=0).shape == (5, 4)
            except Exception as error:
                errors.append(error)
                return

    watchers = [threading.Thread(target=watch) for _ in range(3)]
    for thread in watchers:
        thread.start()
    model.fit(x, y, epochs=4, batch_size=16, shuffle=False, verbose=0)
    done.set()
    for thread in watchers:
        thread.join()
    assert not errors
    assert bits(model) == expected


def test_no_layer_holds_what_a_pass_computed():
    model, x, y = training_task(4)
    model.fit(x, y, epochs=1, verbose=0)
    model.predict(x, verbose=0)
    for _, layer in model.named_layers():
        held = {id(w.array) for w in layer.weights}
        for name, value in vars(layer).items():
            inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
            assert not any(isinstance(v, np.ndarray) and id(array_of(v)) not in held for v in inside), (layer.label, name)


def test_values_and_names():
    inputs = Input((6, 6, 3))
    layer = Conv2D(4, 3)
    value = layer(inputs)
    assert value.shape == (None, 4, 4, 4) and value.dtype == np.float32
    assert layer.input is inputs and layer.output is value and layer.input_shape == (None, 6, 6, 3)
    model = Model(inputs=inputs, outputs=Activation("relu")(value))
    assert [l.name for l in model.layers] == ["input_layer", "conv2d", "activation"]
    assert model.input is inputs and model.outputs == [model.output] and model.inputs == [inputs]
    assert model.get_layer("conv2d") is layer and model.get_layer(index=1) is layer
    wide = Conv2D(3, 3, padding="same")
    assert [wide(Input((n, n, 3))).shape[1] for n in (5, 9)] == [5, 9]  # one layer on images of two sizes


def test_the_picture_of_a_network_shows_what_skips_layers():
    pytest.importorskip("matplotlib")
    from minitl import plot

    def arrows(model):
        return sum(text.arrow_patch is not None for text in plot.model(model).axes[0].texts if hasattr(text, "arrow_patch"))

    inputs = Input((6, 6, 2))
    x = Conv2D(4, 3, padding="same")(inputs)
    y = Conv2D(4, 3, padding="same")(x)
    assert arrows(Model(inputs, y)) == 0
    assert arrows(Model(inputs, Add()([x, y]))) == 1


def test_a_run_tells_the_gradients_of_every_layer_once_and_whole():
    class Holds(Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = Sequential([Input((4,)), Dense(4, activation="tanh"), Dense(4)])

        def forward(self, x, training):
            return self.inner(x, training)

        def backward(self, dy):
            return self.inner.backward(dy)

    inputs, shared = Input((4,)), Dense(4)
    x = shared(Dense(4, activation="relu")(shared(inputs)))
    model = Model(inputs, Dense(2)(Holds()(x)))
    run, told = model.new_run(keep=True), {}
    run.tell = lambda layer, gradients: told.setdefault(layer, []).append({name: g.copy() for name, g in gradients.items()})
    run.forward([np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)], training=True)
    run.backward([np.ones((3, 2), np.float32)])
    assert len(run.gradients) == 6 and set(told) == set(run.gradients)
    for layer, (gradients,) in told.items():
        for name, gradient in run.gradients[layer].items():
            np.testing.assert_array_equal(gradients[name], gradient)


def test_networks_that_begin_in_the_middle_are_copied():
    base = small()
    upper = Model(base.layers[0].output, base.output)
    hidden = np.tanh(ROWS @ base.get_weights()[0] + base.get_weights()[1])
    for one in (upper, pickle.loads(pickle.dumps(upper)), copy.deepcopy(upper)):
        np.testing.assert_allclose(one(hidden), base(ROWS), rtol=1e-5, atol=1e-6)


def test_networks_without_a_graph_are_copied():
    model = Sequential([Dense(3, input_shape=(4,)), Dense(2)])
    again = pickle.loads(pickle.dumps(model))
    assert again.input_shape == model.input_shape == (None, 4)
    np.testing.assert_array_equal(again(ROWS), model(ROWS))
    open_one = pickle.loads(pickle.dumps(Sequential([Dense(3)])))
    assert open_one(ROWS).shape == (12, 3)


def test_one_array_is_for_the_only_output_that_has_a_loss():
    x, y = np.random.default_rng(0).random((8, 3)), np.random.default_rng(1).random((8, 2))
    losses = []
    for targets in (y, [None, y]):
        inputs = Input((3,))
        hidden = Dense(4, kernel_initializer="ones", name="hidden")(inputs)
        model = Model(inputs, [hidden, Dense(2, kernel_initializer="ones", name="head")(hidden)])
        model.compile("sgd", loss=[None, "mse"])
        losses.append(model.fit(x, targets, epochs=2, batch_size=8, shuffle=False, verbose=0).history["loss"])
    assert losses[0] == losses[1]
    model.compile("sgd", loss=["mse", "mse"])
    with pytest.raises(ValueError, match=r"expected one array for each of the 2 outputs \(hidden, head\), got one array"):
        model.fit(x, y, verbose=0)
