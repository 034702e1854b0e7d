"""States of recurrent layers: given, returned, and carried from batch to batch."""

import numpy as np
import pytest

import minitl
from minitl.gradcheck import check_gradients
from minitl.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    SimpleRNN,
    TimeDistributed,
)
from minitl.models import Model, Sequential, clone_model, load_model

KINDS = {"lstm": (LSTM, 2), "gru": (GRU, 1), "simple_rnn": (SimpleRNN, 1)}


@pytest.fixture(params=sorted(KINDS))
def kind(request):
    return KINDS[request.param]


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def translator(kind, states, dtype="float32"):
    """A network that reads one sequence and writes another, and its two halves for writing step by step."""
    read, told = Input((None, 4), dtype=dtype), Input((None, 3), dtype=dtype)
    _, *state = kind(5, return_state=True, dtype=dtype)(read)
    writer, last = kind(5, return_sequences=True, return_state=True, dtype=dtype), Dense(2, dtype=dtype)
    whole = Model([read, told], last(writer(told, initial_state=state)[0]))
    given = [Input((5,), dtype=dtype) for _ in range(states)]
    y, *after = writer(told, initial_state=given)
    return whole, Model(read, state), Model([told, *given], [last(y), *after])


def test_step_by_step_is_what_the_whole_gives(kind, backend):
    whole, reader, writer = translator(*kind)
    read, told = numbers(3, 6, 4), numbers(3, 5, 3)
    expected, state, found = whole.predict([read, told], verbose=0), reader.predict(read, verbose=0), []
    state = state if isinstance(state, list) else [state]
    for t in range(5):
        y, *state = writer.predict([told[:, t : t + 1], *state], verbose=0)
        found.append(y)
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-6)
    assert np.abs(expected - whole.predict([0 * read, told], verbose=0)).max() > 1e-3  # what was read matters


def test_gradients_go_through_states(kind, backend):
    """Of the numbers given as a state, and from both the steps' outputs and the last state."""
    layer, states = kind
    x, given = Input((4, 3), dtype="float64"), [Input((5,), dtype="float64") for _ in range(states)]
    model = Model([x, *given], layer(5, return_sequences=True, return_state=True, dtype="float64")(x, initial_state=given))
    arrays = [numbers(3, 4, 3), *(numbers(3, 5, seed=k) for k in range(states))]
    targets = [numbers(3, 4, 5), *(numbers(3, 5, seed=7 + k) for k in range(states))]
    model.compile("sgd", "mse")
    report = check_gradients(model, arrays, targets, samples=60)
    assert report.ok and max(tensor.worst for tensor in report.tensors) < 1e-7, report
    assert len(report.tensors) == 4 + states


def test_gradients_of_the_last_state_alone_and_of_steps_left_out(kind, backend):
    layer, states = kind
    words, given = Input((6,), dtype="int32"), [Input((4,), dtype="float64") for _ in range(states)]
    x = Embedding(9, 3, mask_zero=True, dtype="float64")(words)
    _, *after = layer(4, return_state=True, go_backwards=True, dtype="float64")(x, initial_state=given)
    model = Model([words, *given], after)
    model.compile("sgd", "mse")
    rows = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 1], [0, 0, 0, 0, 0, 0]])
    arrays = [numbers(3, 4, seed=k) for k in range(states)]
    report = check_gradients(model, [rows, *arrays], [numbers(3, 4, seed=9 + k) for k in range(states)], samples=60)
    assert report.ok and max(tensor.worst for tensor in report.tensors) < 1e-7, report
    found = model.predict([rows, *arrays], verbose=0)
    for before, last in zip(arrays, found if states > 1 else [found], strict=True):
        np.testing.assert_array_equal(last[2], before[2])  # nothing but steps that are left out


@pytest.mark.parametrize("zeros", [True, False])
def test_what_a_step_that_is_left_out_gives(kind, backend, zeros):
    layer, _ = kind
    words = Input((6,), dtype="int32")
    x = Embedding(9, 3, mask_zero=True, dtype="float64")(words)
    model = Model(words, layer(4, return_sequences=True, zero_output_for_mask=zeros, dtype="float64")(x))
    model.compile("sgd", "mse")
    rows = np.array([[1, 2, 3, 0, 0, 0], [4, 0, 6, 7, 0, 1], [0, 0, 3, 4, 0, 0]])
    found = model.predict(rows, verbose=0)
    np.testing.assert_array_equal(found[0, 3:], np.zeros((3, 4)) if zeros else np.tile(found[0, 2], (3, 1)))
    np.testing.assert_array_equal(found[1, 1], np.zeros(4) if zeros else found[1, 0])
    assert not found[2, :2].any()
    flat = Model(words, Flatten()(model.output)).astype("float64")  # so that every step's gradient counts
    flat.compile("sgd", "mse")
    report = check_gradients(flat, rows, numbers(3, 24, seed=5), samples=60)
    assert report.ok and max(tensor.worst for tensor in report.tensors) < 1e-7, str(report)


def test_both_backends_agree(kind):
    layer, states = kind
    for drop in (0.0, 0.4):  # with dropout, the engine leaves the work to the book
        results = []
        for backend in ("numpy", "numba"):
            with minitl.use_backend(backend):
                minitl.utils.set_random_seed(3)
                x, given = Input((7, 4)), [Input((6,)) for _ in range(states)]
                outputs = layer(6, return_state=True, recurrent_dropout=drop)(x, initial_state=given)
                model = Model([x, *given], outputs)
                model.compile("sgd", "mse")
                data = [numbers(50, 7, 4), *(numbers(50, 6, seed=k) for k in range(states))]
                model.fit(data, [numbers(50, 6, seed=8)] * (1 + states), batch_size=25, epochs=2, shuffle=False, verbose=0)
                results.append(model.predict(data, verbose=0))
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)


def test_pytorch_agrees():
    torch = pytest.importorskip("torch")
    x, h, c = numbers(3, 5, 4), numbers(3, 6, seed=1), numbers(3, 6, seed=2)
    theirs = torch.nn.LSTM(4, 6, batch_first=True, dtype=torch.float64)
    inputs = [torch.tensor(a, requires_grad=True) for a in (x, h, c)]
    y, (last_h, last_c) = theirs(inputs[0], (inputs[1][None], inputs[2][None]))
    (y.sin().sum() + 2 * last_h.sin().sum() + 3 * last_c.sin().sum()).backward()
    ours = LSTM(6, return_sequences=True, return_state=True, dtype="float64")
    ours([x, h, c])
    w = {name: value.detach().numpy() for name, value in theirs.named_parameters()}
    ours.set_weights([w["weight_ih_l0"].T, w["weight_hh_l0"].T, w["bias_ih_l0"] + w["bias_hh_l0"]])
    found = ours.forward([x, h, c])
    for a, b in zip(found, (y, last_h[0], last_c[0]), strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), atol=1e-12)
    gradients = ours.backward([np.cos(found[0]), 2 * np.cos(found[1]), 3 * np.cos(found[2])])
    for a, b in zip(gradients, inputs, strict=True):
        np.testing.assert_allclose(a, b.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("merge_mode", ["concat", "sum", "mul", "ave"])
def test_a_bidirectional_layer_gives_the_states_of_both(merge_mode, backend):
    x, told = Input((5, 4), dtype="float64"), Input((4, 3), dtype="float64")
    both = Bidirectional(LSTM(3, return_sequences=True, return_state=True), merge_mode=merge_mode, dtype="float64")
    y, *states = both(x)
    state = [Concatenate(dtype="float64")(states[k::2]) for k in range(2)]
    z = LSTM(6, dtype="float64")(told, initial_state=state)
    data = [numbers(2, 5, 4), numbers(2, 4, 3)]
    for outputs in ([z], [z, y]):  # the gradient of y may be missing
        model = Model([x, told], outputs)
        model.compile("sgd", "mse")
        targets = [numbers(2, *value.shape[1:], seed=5) for value in outputs]
        report = check_gradients(model, data, targets if len(targets) > 1 else targets[0], samples=40)
        assert report.ok and max(tensor.worst for tensor in report.tensors) < 1e-7, report
    found = Model(x, [y, *states]).predict(data[0], verbose=0)
    if merge_mode == "concat":
        np.testing.assert_allclose(found[0][:, -1, :3], found[1], atol=1e-12)
        np.testing.assert_allclose(found[0][:, 0, 3:], found[3], atol=1e-12)


def test_a_model_with_states_saves_and_loads(kind, tmp_path):
    whole, reader, writer = translator(*kind)
    state = [numbers(2, 5, seed=k) for k in range(kind[1])]
    for model, data in (
        (whole, [numbers(2, 4, 4), numbers(2, 4, 3)]),
        (reader, numbers(2, 4, 4)),
        (writer, [numbers(2, 1, 3), *state]),
    ):
        model.save(tmp_path / "model.npz")
        again = load_model(tmp_path / "model.npz")
        for a, b in zip(model.predict_on_batch(data), again.predict_on_batch(data), strict=True):
            np.testing.assert_array_equal(a, b)


def test_stateful_batches_are_one_long_sequence(kind, backend):
    layer, _ = kind
    carried = Sequential(
        [Input(batch_shape=(3, None, 4)), layer(5, stateful=True, return_sequences=True), layer(2, stateful=True)]
    )
    whole = Sequential([Input((None, 4)), layer(5, return_sequences=True), layer(2)])
    whole.set_weights(carried.get_weights())
    x = numbers(3, 9, 4)
    first = carried.predict(x[:, :2], verbose=0)
    carried.predict(x[:, 2:5], verbose=0)
    np.testing.assert_allclose(carried.predict(x[:, 5:], verbose=0), whole.predict(x, verbose=0), atol=1e-6)
    assert np.abs(carried.predict(x[:, :2], verbose=0) - first).max() > 1e-4
    carried.reset_states()
    np.testing.assert_array_equal(carried.predict(x[:, :2], verbose=0), first)
    with pytest.raises(ValueError, match="goes on with 3 sequences, got 2; give batches of one size, or call reset_states"):
        carried.predict(x[:2], verbose=0)
    carried.layers[0].reset_state()
    carried.layers[1].reset_states()
    np.testing.assert_array_equal(carried.predict(x[:, :2], verbose=0), first)


def test_a_stateful_layer_around_both_directions_is_reset_too():
    model = Sequential([Input((3, 4)), Bidirectional(GRU(2, stateful=True))])
    x = numbers(2, 3, 4)
    first = model.predict(x, verbose=0)
    assert np.abs(model.predict(x, verbose=0) - first).max() > 1e-4
    model.reset_states()
    np.testing.assert_array_equal(model.predict(x, verbose=0), first)


def test_wrong_states_are_refused():
    x, h = Input((4, 3)), Input((5,))
    with pytest.raises(ValueError, match=r"a state is 2 array\(s\) \(N, 5\), got 1"):
        LSTM(5)(x, initial_state=h)
    with pytest.raises(ValueError, match=r"initial_state must be \(N, 4\) for 4 units"):
        GRU(4)(x, initial_state=h)
    layer = GRU(5)
    layer(x)
    with pytest.raises(ValueError, match="was first called without initial_state; give one at every call, or at none"):
        layer(x, initial_state=h)
    layer = GRU(5)
    layer(x, initial_state=h)
    with pytest.raises(ValueError, match="was first called with initial_state"):
        layer(x)
    with pytest.raises(ValueError, match="a stateful layer goes on from its own state"):
        GRU(5, stateful=True)(x, initial_state=h)
    with pytest.raises(ValueError, match="activity_regularizer has no meaning for several outputs"):
        LSTM(5, return_state=True, activity_regularizer="l2")
    with pytest.raises(ValueError, match="has 3 outputs, a Sequential passes on one"):
        Sequential([Input((4, 3)), LSTM(5, return_state=True), Dense(2)])
    with pytest.raises(TypeError, match="takes a layer of one input and one output"):
        TimeDistributed(LSTM(5, return_state=True))
    for name, start in (("lstm", (2, 5)), ("gru", (2, 10)), ("simple_rnn", (3, 5))):
        gates = {"lstm": 4, "gru": 3, "simple_rnn": 1}[name]
        for folder in ("ops", "kernels"):
            module = __import__(f"minitl.{folder}.{name}", fromlist=["forward"])
            with pytest.raises(ValueError, match=f"{name}: start"):
                module.forward(np.zeros((2, 3, gates * 5)), np.zeros((5, gates * 5)), start=np.zeros(start))


@pytest.mark.parametrize("inner", [False, True])
def test_marks_cross_the_border_of_a_model_inside(inner, tmp_path):
    words = np.array([[1, 2, 0, 0], [3, 0, 1, 0], [4, 5, 6, 7]])

    def network(nested):
        x = Input((4,), dtype="int32")
        table = Embedding(9, 3, mask_zero=True)
        layers = [Dropout(0.1), Bidirectional(GRU(4, return_sequences=True)), LSTM(5)]
        if not nested:
            y = table(x)
            for layer in layers:
                y = layer(y)
            return Model(x, y)
        if inner:  # the table inside one model, what leaves steps out inside two others
            y = Sequential([Input((4,), dtype="int32"), table])(x)
            y = Sequential([Input((4, 3)), Sequential([Input((4, 3)), *layers[:2]])])(y)
            return Model(x, layers[2](y))
        return Model(x, Sequential(layers)(table(x)))

    flat, nested = network(False), network(True)
    nested.set_weights(flat.get_weights())
    expected = flat.predict(words, verbose=0)
    nested.save(tmp_path / "m.npz")
    for model in (nested, clone_model(nested), load_model(tmp_path / "m.npz")):
        model.set_weights(flat.get_weights())
        np.testing.assert_array_equal(model.predict(words, verbose=0), expected)


def test_shapes_for_which_a_recurrent_layer_is_built():
    described, called = LSTM(3), LSTM(3)
    described(Input((5, 4)))
    called(np.ones((2, 5, 4), np.float32))
    assert described.input_shape == (None, 5, 4) and called.input_shape == (None, None, 4)
    assert called(np.ones((2, 7, 4), np.float32)).shape == (2, 3)
