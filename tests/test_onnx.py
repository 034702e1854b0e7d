"""ONNX: every layer on its way out; the standard's own tests, networks of other programs, and graphs that are refused."""

import collections
import io
import os
import warnings

import numpy as np
import pytest
from test_layers import LAYERS, with_moved_weights

from minitl import activations, rare_activations
from minitl.gradcheck import check_gradients
from minitl.interop import export_onnx, import_onnx
from minitl.interop.onnx_functions import READERS as FUNCTIONS
from minitl.interop.onnx_places import READERS as PLACES
from minitl.interop.onnx_recurrent import READERS as RECURRENT
from minitl.layers import (
    GRU,
    LSTM,
    Activation,
    ArrayFunction,
    Bidirectional,
    CenterCrop,
    Dense,
    Embedding,
    Flatten,
    Input,
    Masking,
    Resizing,
    SimpleRNN,
    TimeDistributed,
    UpSampling2D,
)
from minitl.losses import SparseCategoricalCrossentropy
from minitl.models import Model, Sequential, load_model
from minitl.optimizers import Adam

onnx = pytest.importorskip("onnx", reason="interchange needs the extra interop")
helper, node, FLOAT = onnx.helper, onnx.helper.make_node, onnx.TensorProto.FLOAT

# Out: every layer, in the standard's evaluator, or in ONNX Runtime where it is installed.

OURS_ALONE = ("transitions", "lambda", "recorded lambda", "user's", "container", "unit")


def run(file, *arrays):
    try:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
        return session.run(None, dict(zip([given.name for given in session.get_inputs()], arrays, strict=True)))
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        session = ReferenceEvaluator(str(file))
        return session.run(None, dict(zip(session.input_names, arrays, strict=True)))


def test_repeated_pixels_come_back_as_their_layer(tmp_path):
    model = Sequential([Input((4, 5, 3)), UpSampling2D((2, 3))])
    for opset in (17, 21):
        export_onnx(model, tmp_path / "m.onnx", opset)
        assert type(import_onnx(tmp_path / "m.onnx").layers[-1]) is UpSampling2D


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_is_exported(name, tmp_path):
    model, x = with_moved_weights(name)
    for opset in (17, 18, 21):
        if name.startswith(OURS_ALONE):
            with pytest.raises(ValueError, match="ONNX has nothing for this layer"):
                export_onnx(model, tmp_path / "m.onnx", opset)
            continue
        export_onnx(model, tmp_path / "m.onnx", opset)
        np.testing.assert_allclose(run(tmp_path / "m.onnx", x)[0], model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
        again = import_onnx(tmp_path / "m.onnx")
        y = again(np.transpose(x, again.onnx_orders["inputs"][0]))
        y = np.transpose(y, np.argsort(again.onnx_orders["outputs"][0]))
        np.testing.assert_allclose(y, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted({*activations.NAMED, *rare_activations.NAMED} - {"linear", "sparsemax"}))
def test_every_activation_is_exported(name, tmp_path):
    inputs = Input((3, 5))
    model = Model(inputs, Activation(name)(inputs))
    x = np.linspace(-8, 8, 60).reshape(4, 3, 5).astype(np.float32) + np.float32(1e-3)  # and not where it jumps
    export_onnx(model, tmp_path / "m.onnx")
    np.testing.assert_allclose(run(tmp_path / "m.onnx", x)[0], model(x), rtol=1e-5, atol=1e-6)


def test_an_activation_that_sorts_is_not_exported(tmp_path):
    with pytest.raises(ValueError, match="sparsemax"):
        export_onnx(Sequential([Input((3,)), Activation("sparsemax")]), tmp_path / "m.onnx")


def test_states_of_recurrent_layers_are_exported(tmp_path):
    generator = np.random.default_rng(2)
    x, h, c = (Input(shape) for shape in ((6, 4), (5,), (5,)))
    y, *states = LSTM(5, return_sequences=True, return_state=True)(x, initial_state=[h, c])
    both = Bidirectional(GRU(3, return_state=True))(y)
    model = Model([x, h, c], [y, *states, *both])
    export_onnx(model, tmp_path / "m.onnx")
    arrays = [generator.normal(size=shape).astype(np.float32) for shape in ((2, 6, 4), (2, 5), (2, 5))]
    for ours, theirs in zip(model.predict(arrays, verbose=0), run(tmp_path / "m.onnx", *arrays), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
    for refused in (LSTM(3, stateful=True), Bidirectional(GRU(3, stateful=True))):
        with pytest.raises(ValueError, match="are not exported"):
            export_onnx(Sequential([Input((6, 4)), refused]), tmp_path / "other.onnx")
    for layer in (Resizing(3, 3), CenterCrop(2, 2)):
        with pytest.raises(ValueError, match="of a known size alone"):
            export_onnx(Model(open_ := Input((None, None, 2)), layer(open_)), tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="of a known length alone"):
        export_onnx(Model(open_ := Input((None, 2)), TimeDistributed(Dense(2))(open_)), tmp_path / "other.onnx")


@pytest.mark.parametrize("make", [
    lambda x: LSTM(3)(x), lambda x: GRU(3, go_backwards=True)(x), lambda x: SimpleRNN(3, return_sequences=True)(x),
    lambda x: LSTM(3, return_sequences=True, zero_output_for_mask=True)(x),
    lambda x: Bidirectional(GRU(3, return_sequences=True))(x),
    lambda x: Flatten()(Bidirectional(LSTM(2, return_sequences=True))(x)), lambda x: LSTM(2, return_state=True)(x)[2],
    lambda x: GRU(2)(Dense(3)(LSTM(4, return_sequences=True)(x))), lambda x: Flatten()(GRU(4, return_sequences=True)(x)),
])  # fmt: skip
@pytest.mark.parametrize("marks", ["words", "steps"])
def test_recurrent_layers_that_leave_steps_out_are_exported(make, marks, tmp_path):
    drawn = np.random.default_rng(0)
    counts = np.arange(6) < np.array([6, 4, 1, 5])[:, None]
    if marks == "words":
        x, entry = np.where(counts, drawn.integers(1, 9, (4, 6)), 0).astype(np.int32), Input((6,), dtype="int32")
        value = Embedding(9, 4, mask_zero=True)(entry)
    else:
        x, entry = np.where(counts[..., None], drawn.normal(size=(4, 6, 4)), 0).astype(np.float32), Input((6, 4))
        value = Masking()(entry)
    model = Model(entry, make(value))
    with pytest.warns(UserWarning, match="ONNX leaves steps out at the end of a sequence alone"):
        export_onnx(model, tmp_path / "m.onnx")
    np.testing.assert_allclose(run(tmp_path / "m.onnx", x)[0], model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


# The standard's own tests.

READ = [
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "BatchNormalization",
    "AveragePool",
    "MaxPool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Elu",
    "Selu",
    "Celu",
    "HardSigmoid",
    "HardSwish",
    "Sigmoid",
    "Tanh",
    "Softplus",
    "ThresholdedRelu",
    "Gelu",
    "Add",
    "Mul",
    "Sub",
    "Div",
    "Pow",
    "Max",
    "Min",
    "Sum",
    "Mean",
    "Concat",
    "Flatten",
    "Reshape",
    "Transpose",
    "Pad",
    "Clip",
    "Softmax",
    "Dropout",
    "Resize",
    "ReduceMean",
    "LRN",
    "Identity",
    "Squeeze",
    "Unsqueeze",
    "Exp",
    "Sqrt",
    "Neg",
]
MERGING = ("Add", "Mul", "Sub", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Concat")


def tried(case):
    """Run one of the standard's tests: True, or why it is not read. Inputs beside the data become constants."""
    graph, (given, expected) = case.model.graph, case.data_sets[0]
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    kept = []
    for i, (info, array) in enumerate(zip(list(graph.input), given, strict=False)):
        alike = graph.node[0].op_type in MERGING and (np.shape(array) == np.shape(given[0]) or graph.node[0].op_type == "Concat")
        if i == 0 or alike:
            kept.append((info.name, array))
        else:
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), info.name))
    for info in list(model.graph.input):
        if info.name not in dict(kept):
            model.graph.input.remove(info)
    try:
        network = import_onnx(model)
    except ValueError as error:
        return str(error)
    x = [np.transpose(a, order) for (_, a), order in zip(kept, network.onnx_orders["inputs"], strict=True)]
    if not all(array.size for array in x):
        with pytest.raises(ValueError, match="holds no numbers"):
            network(x[0])
        return "import_onnx: read, but a model takes no empty batch"
    made = network(x if len(x) > 1 else x[0])
    for y, order, e in zip(made if isinstance(made, list) else [made], network.onnx_orders["outputs"], expected, strict=False):
        y = np.transpose(y, np.argsort(order))
        if "training_dropout" in case.name and e.any() and not e.all():  # what is dropped is drawn; what is kept is the same
            assert 0 < np.count_nonzero(y) < y.size
            y, e = y[(y != 0) & (e != 0)], e[(y != 0) & (e != 0)]
            assert y.size
        np.testing.assert_allclose(y, e, rtol=1e-3, atol=1e-5, err_msg=case.name)
    return True


def node_tests(operators):
    """How many of the standard's tests of some operators pass, printed by operator."""
    from onnx.backend.test.case.node import collect_testcases

    passed, seen, reasons = collections.Counter(), collections.Counter(), collections.Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    for case in cases:
        nodes = case.model.graph.node
        first = case.model.graph.input[0].type.tensor_type.elem_type if case.model.graph.input else 0
        if len(nodes) != 1 or nodes[0].op_type not in operators or first != FLOAT:
            continue
        outcome = tried(case)
        seen[nodes[0].op_type] += 1
        passed[nodes[0].op_type] += outcome is True
        if outcome is not True:
            assert "import_onnx: " in outcome or "whole number of at least 1, got 0" in outcome  # refused by name, never wrong
            reasons[outcome.split(": ", 2)[-1][:90]] += 1
    print("  ".join(f"{op} {passed[op]}/{seen[op]}" for op in sorted(seen)))
    print(f"{sum(passed.values())} of {sum(seen.values())}; not read:")
    print("\n".join(f"  {count:3} {reason}" for reason, count in reasons.most_common()))
    return sum(passed.values())


def test_the_standard_s_node_tests():
    assert node_tests(READ) >= 278


def test_the_standard_s_node_tests_of_recurrent_layers():
    assert node_tests(RECURRENT) >= 17  # the other has peepholes


def test_the_standard_s_node_tests_of_functions():
    # Not Cast, whose tests are about formats of numbers; what is not read has axes of length 0.
    assert node_tests({*FUNCTIONS, *PLACES} - {"Cast"}) >= 222


ANY_AXES = {  # operators that no layer has, or on axes that no layer touches: node, attributes, constants
    "transpose": ("Transpose", {"perm": [2, 0, 3, 1]}, {}),
    "join batches": ("Concat", {"axis": 0}, {"inputs": ["x", "x"]}),
    "rows of an image": ("Flatten", {"axis": 2}, {}),
    "one row": ("Flatten", {"axis": 0}, {}),
    "reshape over the batch": ("Reshape", {}, {"s": np.array([-1, 16])}),
    "reshape, pairs": ("Reshape", {}, {"s": np.array([-1, 2, 8])}),
    "softmax over the batch": ("Softmax", {"axis": 0}, {}),
    "new first axis": ("Unsqueeze", {}, {"a": np.array([0, 2])}),
    "mean over channels": ("ReduceMean", {"axes": [1]}, {}),
    "mean of all": ("ReduceMean", {"keepdims": 0}, {}),
    "divided": ("Div", {}, {"inputs": ["x", "x"]}),
    "power": ("Pow", {}, {"inputs": ["x", "x"]}),
    "product of two": ("MatMul", {}, {"inputs": ["x", "x"]}),
    "product with many": ("MatMul", {}, {"b": np.random.default_rng(5).normal(size=(1, 3, 8, 5)).astype("float32")}),
    "product with a vector": ("MatMul", {}, {"b": np.random.default_rng(5).normal(size=8).astype("float32")}),
    "dilated maxima": ("MaxPool", {"kernel_shape": [3, 2], "dilations": [2, 3], "strides": [2, 1], "pads": [1, 2, 2, 0]}, {}),
    "dilated maxima, ceil": ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2], "strides": [3, 3], "ceil_mode": 1}, {}),
    "grown lines": ("Resize", {"mode": "linear"}, {"inputs": ["x", "", "b"], "b": np.array([1, 1, 1.5, 2.25], np.float32)}),
    "shrunk curves": ("Resize", {"mode": "cubic", "antialias": 1, "axes": [3, 2]},
                      {"inputs": ["x", "", "", "b"], "b": np.array([5, 6])}),
    "nearest": ("Resize", {"nearest_mode": "ceil"}, {"inputs": ["x", "", "b"], "b": np.array([1, 1, 0.6, 1.7], np.float32)}),
    "channels too": ("Resize", {}, {"inputs": ["x", "", "b"], "b": np.array([1, 2, 1, 1], np.float32)}),
    "framed": ("Pad", {}, {"p": np.array([0, 0, 1, 2, 0, 0, 3, 0]), "v": np.array(1.5, np.float32)}),
    "more channels": ("Pad", {}, {"p": np.array([0, 2, 1, 0, 0, 1, 0, 1])}),
    "running sums": ("CumSum", {}, {"a": np.array(2)}),
    "running sums from behind": ("CumSum", {"reverse": 1}, {"a": np.array(3)}),
    "running sums of those before": ("CumSum", {"exclusive": 1}, {"a": np.array(1)}),
    "running sums of those behind": ("CumSum", {"exclusive": 1, "reverse": 1}, {"a": np.array(-1)}),
    "log of sums": ("ReduceLogSumExp", {}, {"a": np.array([1, 3])}),
    "log of sums, fewer axes": ("ReduceLogSumExp", {"keepdims": 0}, {"a": np.array([2])}),
    "sum of nothing": ("ReduceSum", {"noop_with_empty_axes": 1}, {}),
    "mean of each image": ("ReduceMean", {"axes": [2, 3], "keepdims": 0}, {}),
    "chosen by a constant": ("Where", {}, {"inputs": ["c", "x", "b"], "c": np.arange(8) > 4, "b": np.ones(1, np.float32)}),
    "all samples": ("Slice", {}, {"s": np.array([0, 1]), "e": np.array([2**40, 3]), "a": np.array([0, 1])}),
    "no border": ("MaxPool", {"kernel_shape": [3, 2], "auto_pad": "VALID"}, {}),
    "scales of groups": ("GroupNormalization", {"num_groups": 1}, {"s": np.ones(1, np.float32) * 2, "b": np.ones(1, np.float32)}),
}  # fmt: skip


@pytest.mark.parametrize("name", ANY_AXES)
def test_operators_on_any_axes_for_any_batch(name):
    from onnx.reference import ReferenceEvaluator

    kind, attributes, given = ANY_AXES[name]
    constants = {key: value for key, value in given.items() if key != "inputs"}
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node(kind, given.get("inputs", ["x", *constants]), ["y"], **attributes)
    x, y = helper.make_tensor_value_info("x", float32, ["N", 3, 8, 8]), helper.make_tensor_value_info("y", float32, None)
    held = [onnx.numpy_helper.from_array(value, key) for key, value in constants.items()]
    opset = helper.make_opsetid("", 17 if kind == "ReduceMean" else 18)
    proto = helper.make_model(helper.make_graph([node], "g", [x], [y], held), opset_imports=[opset])
    network, generator = import_onnx(proto), np.random.default_rng(0)
    for batch in (1, 4):
        images = generator.uniform(0.5, 2, (batch, 3, 8, 8)).astype("float32")
        expected = ReferenceEvaluator(proto).run(None, {"x": images})[0]
        made = network(np.transpose(images, network.onnx_orders["inputs"][0]))
        made = np.transpose(made, np.argsort(network.onnx_orders["outputs"][0]))
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def joined(declared, inferred):
    """A graph that joins the batch with windows of an image, for a layer, and takes them apart again, as vision networks do."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    nodes, held = [], {"one": np.array([0]), "first": np.array([1]), "k": np.array([[1, 2], [3, -1.0]])}

    def node(kind, inputs, **attributes):
        nodes.append(helper.make_node(kind, inputs, [f"t{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def constant(*numbers):
        held[f"c{len(held)}"] = np.array(numbers)
        return f"c{len(held) - 1}"

    def sized(x, *rest, times=1):
        """A shape that begins with the batch, or a multiple of it, of which only the graph knows how large it is."""
        if declared:
            return constant(times * declared, *rest)
        batch = node("Slice", [node("Shape", [x]), "one", "first"])
        batch = batch if times == 1 else node("Mul", [batch, constant(times)])
        return node("Concat", [batch, *(constant(n) for n in rest)], axis=0)

    y = node("Reshape", ["x", sized("x", 2, 4, 2, 2)])  # (N, C, two, 4 pixels, two, 2 pixels) without the last
    y = node("Transpose", [y], perm=[0, 2, 3, 4, 1])
    y = node("Reshape", [y, sized("x", -1 if inferred else 4, 2, times=4)])  # four windows per image
    y = node("MatMul", [node("Softmax", [y], axis=1), "k"])
    y = node("Reshape", [y, sized(y, 2, -1 if inferred else 2, 2, times=1 if not declared else 4)])  # rows that stay joined
    y = node("Reshape", [y, sized("x", 4, -1 if inferred else 8)])
    x = helper.make_tensor_value_info("x", float32, [declared or "N", 2, 4, 4])
    out = helper.make_tensor_value_info(y, float32, None)
    tensors = [onnx.numpy_helper.from_array(v if v.dtype == np.int64 else v.astype("float32"), k) for k, v in held.items()]
    graph = helper.make_graph(nodes, "g", [x], [out], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("inferred", [False, True])
@pytest.mark.parametrize("declared", [0, 1, 2, 3])
def test_a_batch_that_is_joined_with_windows_is_taken_apart_again(declared, inferred):
    """Also for other batches than the one that the graph declares."""
    from onnx.reference import ReferenceEvaluator

    network, generator = import_onnx(joined(declared, inferred)), np.random.default_rng(0)
    assert network.output_shape == (None, 4, 8)
    for batch in (1, 2, 5):
        images = generator.normal(size=(batch, 2, 4, 4)).astype("float32")
        expected = ReferenceEvaluator(joined(batch if declared else 0, inferred)).run(None, {"x": images})[0]
        np.testing.assert_allclose(network.predict(images.transpose(0, 2, 3, 1), verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_constants_that_a_graph_repeats_by_the_batch():
    """As codes of places are: repeated, given another shape, and added; a new size of images is asked for with the batch."""
    from onnx.reference import ReferenceEvaluator

    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    held = {"p": np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4), "zero": np.array([0]), "one": np.array([1]),
            "two": np.array([2]), "last": np.array([1, 4, 2]), "open": np.array([-1]), "image": np.array([4, 4]),
            "grown": np.array([6, 8])}  # fmt: skip
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["batch"]),
        helper.make_node("Slice", ["shape", "zero", "two"], ["front"]),
        helper.make_node("Concat", ["batch", "last"], ["times"], axis=0),
        helper.make_node("Tile", ["p", "times"], ["tiled"]),  # (N, 1, 16, 8)
        helper.make_node("Concat", ["batch", "two", "open", "image"], ["to"], axis=0),
        helper.make_node("Reshape", ["tiled", "to"], ["codes"]),  # (N, 2, 4, 4, 4)
        helper.make_node("ReduceMean", ["codes"], ["mean"], axes=[2], keepdims=0),
        helper.make_node("Add", ["x", "mean"], ["sum"]),
        helper.make_node("Concat", ["front", "grown"], ["sizes"], axis=0),
        helper.make_node("Resize", ["sum", "", "", "sizes"], ["y"], mode="linear"),
    ]
    x = helper.make_tensor_value_info("x", float32, ["N", 2, 4, 4])
    tensors = [onnx.numpy_helper.from_array(value, key) for key, value in held.items()]
    graph = helper.make_graph(nodes, "g", [x], [helper.make_tensor_value_info("y", float32, None)], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    network = import_onnx(proto)
    for batch in (1, 3):
        images = np.random.default_rng(batch).normal(size=(batch, 2, 4, 4)).astype("float32")
        expected = ReferenceEvaluator(proto).run(None, {"x": images})[0].transpose(network.onnx_orders["outputs"][0])
        np.testing.assert_allclose(network.predict(images.transpose(0, 2, 3, 1), verbose=0), expected, rtol=1e-5, atol=1e-5)


def test_a_batch_that_is_joined_in_parts_is_refused_with_the_numbers():
    proto = joined(0, inferred=False)
    next(t for t in proto.graph.initializer if t.name == "k").CopyFrom(
        onnx.numpy_helper.from_array(np.ones((2, 3), np.float32), "k")
    )
    with pytest.raises(ValueError, match=r"Reshape.*48 numbers per sample"):
        import_onnx(proto)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_neighbours_of_an_even_number_of_channels(size):
    """By hand: the standard's reference implementation mistakes the batch for the channels."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node("LRN", ["x"], ["y"], size=size, alpha=0.9, beta=0.5, bias=0.3)
    x, y = helper.make_tensor_value_info("x", float32, ["N", 6, 3, 3]), helper.make_tensor_value_info("y", float32, None)
    network = import_onnx(
        helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)])
    )
    images = np.random.default_rng(0).uniform(0.5, 2, (2, 3, 3, 6)).astype("float32")
    below, above = (size - 1) // 2, size // 2
    for c in range(6):
        squares = (images[..., max(0, c - below) : c + above + 1] ** 2).sum(axis=-1)
        np.testing.assert_allclose(network(images)[..., c], images[..., c] / np.sqrt(0.3 + 0.9 / size * squares), rtol=1e-5)


CUBES = np.random.default_rng(6).normal(size=(4, 3, 2, 3, 2)).astype("float32")
DECLARED = {  # what needs the batch that a graph declares, or several outputs: shape of x, node, attributes, constants, outputs
    "rows that differ": ((3, 4), "Add", {}, {"b": np.arange(12, dtype=np.float32).reshape(3, 4)}, 1),
    "turned over": ((3, 4), "Gemm", {"transA": 1}, {"b": np.ones((3, 2), np.float32)}, 1),
    "vectors": ((3,), "MatMul", {}, {"b": np.arange(3, dtype=np.float32)}, 1),
    "slopes by sample": ((3, 4, 5), "PRelu", {}, {"b": np.linspace(-1, 1, 60).reshape(3, 4, 5).astype("float32")}, 1),
    "batch taken away": ((1, 3, 4), "Squeeze", {}, {"a": np.array([0])}, 1),
    "exact shape": ((2, 3, 4), "Reshape", {}, {"s": np.array([1, 2, 3, 4])}, 1),
    "places of maxima": ((2, 3, 7, 6), "MaxPool", {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 1, 1, 0]}, {}, 2),
    "places by columns": ((2, 3, 7, 6), "MaxPool", {"kernel_shape": [2, 2], "storage_order": 1, "dilations": [2, 1]}, {}, 2),
    "three axes": ((2, 4, 3, 2, 4), "ConvTranspose", {"strides": [2, 1, 2], "dilations": [1, 2, 1], "pads": [1, 0, 1, 0, 2, 0],
                   "output_padding": [1, 0, 0]}, {"w": CUBES, "b": np.arange(3, dtype=np.float32)}, 1),
    "three axes, groups": ((2, 4, 3, 2, 4), "ConvTranspose", {"group": 2}, {"w": CUBES}, 1),
    "batch statistics": ((4, 3, 5), "BatchNormalization", {"training_mode": 1, "momentum": 0.8},
                         {name: np.array([0.5, 1, 2], np.float32) for name in "sbmv"}, 3),
    "cropped": ((2, 3, 6, 7), "Resize", {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize",
                "extrapolation_value": 7.0}, {"r": np.array([0, 0, 0.4, -0.5, 1, 1, 1.2, 0.9], np.float32), "": None,
                "z": np.array([2, 3, 4, 5])}, 1),
    "not smaller": ((2, 3, 4, 6), "Resize", {"mode": "linear", "keep_aspect_ratio_policy": "not_smaller", "axes": [2, 3]},
                    {"": None, " ": None, "z": np.array([3, 4])}, 1),
}  # fmt: skip
ONE_BATCH = ("rows", "turned", "vectors", "slopes", "batch taken", "places")


@pytest.mark.parametrize("name", DECLARED)
def test_operators_that_need_the_declared_batch_or_give_several_outputs(name, tmp_path):
    from onnx.reference import ReferenceEvaluator

    shape, kind, attributes, constants, outputs = DECLARED[name]
    helper, float32, names = onnx.helper, onnx.TensorProto.FLOAT, ["y", "second", "third"][:outputs]

    def graph_of(x, attributes, constants):
        node = helper.make_node(kind, ["x", *(key.strip() for key in constants)], names, **attributes)
        told = [helper.make_tensor_value_info(output, float32, None) for output in names]
        held = [onnx.numpy_helper.from_array(value, key) for key, value in constants.items() if value is not None]
        graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", float32, x.shape)], told, held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])

    x = np.random.default_rng(1).integers(-3, 4, shape).astype("float32")  # with equal maxima
    proto = graph_of(x, attributes, constants)
    if kind == "MaxPool":  # the evaluator errs on places of several images, and on groups
        expected = _maxima(x, attributes)
    elif "group" in attributes:
        halves = zip(np.split(x, 2, axis=1), np.split(constants["w"], 2), strict=True)
        parts = [ReferenceEvaluator(graph_of(half, {}, {"w": w})).run(None, {"x": half})[0] for half, w in halves]
        expected = [np.concatenate(parts, axis=1)]
    else:
        expected = ReferenceEvaluator(proto).run(None, {"x": x})
    for network in (import_onnx(proto), _saved(import_onnx(proto), tmp_path)):
        orders = import_onnx(proto).onnx_orders
        made = network(np.transpose(x, orders["inputs"][0]))
        for y, order, e in zip(made if outputs > 1 else [made], orders["outputs"], expected, strict=True):
            np.testing.assert_allclose(np.transpose(y, np.argsort(order)), e, rtol=1e-4, atol=1e-4)
    if name.startswith(ONE_BATCH):
        with pytest.raises(ValueError, match="samples at a time"):
            network(np.transpose(np.concatenate([x, x]), orders["inputs"][0]))
    double, rows = network.astype("float64"), np.random.default_rng(2).normal(size=x.shape)
    if outputs == 1 and len(double.output_shape) and double.output_shape[0] is None and not name.startswith(ONE_BATCH):
        assert check_gradients(double, np.transpose(rows, orders["inputs"][0]))


def _saved(network, folder):
    network.save(folder / "read.npz")
    return load_model(folder / "read.npz")


def _maxima(x, a):
    """Maxima and their places, window by window."""
    (kh, kw), (sh, sw), (dh, dw) = a["kernel_shape"], a.get("strides", [1, 1]), a.get("dilations", [1, 1])
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    n, c, h, w = x.shape
    rows, columns = (h + top + bottom - (kh - 1) * dh - 1) // sh + 1, (w + left + right - (kw - 1) * dw - 1) // sw + 1
    y, places = np.full((n, c, rows, columns), -np.inf), np.zeros((n, c, rows, columns))
    for b, channel, i, j in np.ndindex(y.shape):
        for p, q in np.ndindex(kh, kw):
            r, s = i * sh + p * dh - top, j * sw + q * dw - left
            if 0 <= r < h and 0 <= s < w and x[b, channel, r, s] > y[b, channel, i, j]:
                y[b, channel, i, j] = x[b, channel, r, s]
                places[b, channel, i, j] = (b * c + channel) * h * w + (s * h + r if a.get("storage_order") else r * w + s)
    return y, places


def test_what_is_read_as_functions_of_arrays_has_gradients_and_is_saved(tmp_path):
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    x, y = (helper.make_tensor_value_info(name, float32, ["N", 4, *rest]) for name, rest in (("x", (6,)), ("y", (6,))))
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "x"], ["seen"]),
        helper.make_node("Gelu", ["seen"], ["gelu"], approximate="tanh"),
        helper.make_node("ReduceMean", ["gelu", "last"], ["mean"]),
        helper.make_node("Sub", ["gelu", "mean"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], [onnx.numpy_helper.from_array(np.array([2]), "last")])
    network = import_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])).astype("float64")
    rows = np.random.default_rng(0).normal(size=(3, 6, 4))
    assert check_gradients(network, rows)
    network.save(tmp_path / "attention.npz")
    np.testing.assert_array_equal(load_model(tmp_path / "attention.npz")(rows), network(rows))


def read(nodes, shape, constants, opset=18, kind=FLOAT):
    """The model of a graph from x, whose batch is open, to y."""
    x, y = helper.make_tensor_value_info("x", kind, ["N", *shape]), helper.make_tensor_value_info("y", FLOAT, None)
    held = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    return import_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))


GATE = [
    node("Div", ["x", "root"], ["v"]),
    node("Erf", ["v"], ["e"]),
    node("Add", ["e", "one"], ["a"]),
]
TURNED = [node("Mul", ["half root", "x"], ["v"]), GATE[1], node("Add", ["one", "e"], ["a"])]
PRODUCTS = {  # the ways in which programs write x (1 + erf(x / sqrt 2)) / 2
    "PyTorch": [*GATE, node("Mul", ["x", "a"], ["p"]), node("Mul", ["p", "half"], ["y"])],
    "half of x": [*TURNED, node("Mul", ["x", "half"], ["p"]), node("Mul", ["p", "a"], ["y"])],
    "half of the gate": [*GATE, node("Mul", ["half", "a"], ["p"]), node("Mul", ["x", "p"], ["y"])],
}
NUMBERS = {"root": np.float32(2**0.5), "half root": np.float32(0.5**0.5), "one": np.float32(1), "half": np.float32(0.5)}


@pytest.mark.parametrize("name", PRODUCTS)
def test_gelu_is_recognised_in_any_order(name):
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    model = read(PRODUCTS[name], (6,), NUMBERS)
    assert [layer.activation for layer in model.layers if isinstance(layer, Activation)] == ["gelu"]
    assert not any(isinstance(layer, ArrayFunction) for layer in model.layers)
    for key in ("half", "one", "root" if name != "half of x" else "half root"):  # another number, and it is no GELU
        other = read(PRODUCTS[name], (6,), {**NUMBERS, key: np.float32(0.7)})
        assert not any(isinstance(layer, Activation) for layer in other.layers) and not np.allclose(other(x), model(x), 1e-3)
    similar = [
        *PRODUCTS[name][:-1],
        node("Mul", [*PRODUCTS[name][-1].input], ["q"]),
        node("Mul", ["q", "x"], ["y"]),
    ]
    np.testing.assert_allclose(read(similar, (6,), NUMBERS)(x), model(x) * x, rtol=1e-4, atol=1e-6)


def test_a_bias_behind_a_product_learns():
    kernel, bias = np.ones((4, 3), np.float32), np.arange(3, dtype=np.float32)
    product, add = node("MatMul", ["x", "w"], ["p"]), node("Add", ["b", "p"], ["y"])
    model = read([product, add], (4,), {"w": kernel, "b": bias})
    assert [type(layer) for layer in model.layers[1:]] == [Dense] and len(model.trainable_weights) == 2
    np.testing.assert_array_equal(model(np.ones((2, 4), np.float32)), [4 + bias] * 2)
    twice = [product, node("Add", ["p", "b"], ["q"]), node("Mul", ["q", "p"], ["y"])]
    model = read(twice, (4,), {"w": kernel, "b": bias})  # one kernel for both uses
    assert sum(isinstance(layer, Dense) for layer in model.layers) == 1
    np.testing.assert_array_equal(model(np.ones((2, 4), np.float32)), [4 * (4 + bias)] * 2)
    wide = read([product, add], (5, 4), {"w": kernel, "b": np.ones((5, 1), np.float32)})
    np.testing.assert_array_equal(wide(np.ones((2, 4, 5), np.float32)), np.full((2, 5, 3), 5))


def test_numbers_of_other_kinds():
    x = np.array([[-1.5, 0, 2.7]], np.float32)
    kinds = onnx.TensorProto
    for to, expected in ((FLOAT, x), (kinds.DOUBLE, x), (kinds.INT64, [[-1, 0, 2]]), (kinds.BOOL, [[1, 0, 1]])):
        np.testing.assert_array_equal(read([node("Cast", ["x"], ["y"], to=to)], (3,), {})(x), expected)
    with pytest.raises(ValueError, match="this kind of number"):
        read([node("Cast", ["x"], ["y"], to=kinds.STRING)], (3,), {})
    table = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    words = read([node("Gather", ["t", "x"], ["y"])], (3,), {"t": table}, kind=kinds.INT64)
    np.testing.assert_array_equal(words(np.array([[4, 0, 1]])), table[[[4, 0, 1]]])
    assert len(words.trainable_weights) == 1 and words.inputs[0].dtype == np.int64
    assert read([node("Neg", ["x"], ["y"])], (3,), {}, kind=kinds.DOUBLE).inputs[0].dtype == np.float32


def networks_of_pytorch():
    """Networks whose graphs have what the layers of a chain have not: a transformer's attention, cut and shuffled channels."""
    torch = pytest.importorskip("torch")
    nn, f = torch.nn, torch.nn.functional

    class ConvNext(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(8, 8, 7, padding=3, groups=8), nn.LayerNorm(8, eps=1e-6)
            self.wide, self.narrow, self.scale = nn.Linear(8, 32), nn.Linear(32, 8), nn.Parameter(torch.full((8,), 0.3))

        def forward(self, x):
            y = self.norm(self.conv(x).permute(0, 2, 3, 1))
            return x + (self.scale * self.narrow(f.gelu(self.wide(y)))).permute(0, 3, 1, 2)

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.first, self.places = (
                nn.Conv2d(3, 8, 4, 4),
                nn.Parameter(torch.randn(1, 1, 8)),
                nn.Parameter(torch.randn(1, 10, 8)),
            )
            self.norm, self.all, self.out, self.behind, self.head = (
                nn.LayerNorm(8),
                nn.Linear(8, 24),
                nn.Linear(8, 8),
                nn.LayerNorm(8),
                nn.Linear(8, 5),
            )

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1) + self.places
            batch, length, width = x.shape
            q, k, v = self.all(self.norm(x)).reshape(batch, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
            seen = ((q @ k.transpose(-2, -1)) * 0.5).softmax(-1) @ v
            x = x + self.out(seen.transpose(1, 2).reshape(batch, length, width))
            return self.head(f.gelu(self.behind(x))[:, 0])

    class Shuffled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 1)

        def forward(self, x):
            first, second = x.chunk(2, 1)
            y = torch.cat([first, f.relu(second)], 1)
            y = y.view(x.shape[0], 2, 4, 6, 6).transpose(1, 2).reshape(x.shape[0], 8, 6, 6)
            return f.pixel_shuffle(self.conv(y), 2)

    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.groups, self.each, self.mish = (
                nn.Conv2d(3, 8, 3),
                nn.GroupNorm(2, 8),
                nn.InstanceNorm2d(8, affine=True),
                nn.Mish(),
            )

        def forward(self, x):
            return f.log_softmax(f.normalize(self.mish(self.each(self.groups(self.conv(x)))).amax((2, 3)), dim=1), 1)

    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(12, 8, 3, padding=1)

        def forward(self, x):
            x = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
            y = f.silu(self.conv(x))
            return f.interpolate(y * torch.sigmoid(f.max_pool2d(y, 5, 1, 2)), scale_factor=2.0)[:, :, 1:-1, 2:]

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.conv, self.head = nn.Embedding(20, 6), nn.Conv1d(6, 8, 3, padding=1), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(f.relu(self.conv(self.words(x).transpose(1, 2))).max(2)[0])

    return {
        "ConvNext": (ConvNext(), (8, 6, 6)), "transformer": (Transformer(), (3, 12, 12)), "shuffled": (Shuffled(), (8, 6, 6)),
        "normalised": (Normalised(), (3, 9, 9)), "cut": (Cut(), (3, 8, 8)), "words": (Words(), None),
    }  # fmt: skip


RECURRENTS = {
    "LSTM": {}, "LSTM, both ways, twice": {"bidirectional": True, "num_layers": 2}, "GRU": {"bias": False},
    "GRU, both ways": {"bidirectional": True}, "RNN": {}, "RNN, ReLU": {"nonlinearity": "relu"},
}  # fmt: skip


@pytest.mark.parametrize("name", RECURRENTS)
@pytest.mark.filterwarnings("ignore")
def test_recurrent_networks_that_pytorch_exports(name):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)

    class Reader(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = getattr(torch.nn, name.split(",")[0])(6, 8, batch_first=True, **RECURRENTS[name])

        def forward(self, x, first):
            y, state = self.layer(x)
            again, _ = self.layer(x, (first, first) if name.startswith("LSTM") else first)
            return y[:, -1], y, state[0] if name.startswith("LSTM") else state, again

    network, file = Reader().eval(), io.BytesIO()
    settings = RECURRENTS[name]
    count = settings.get("num_layers", 1) * (2 if settings.get("bidirectional") else 1)
    axes = {"x": {0: "n"}, "first": {1: "n"}}
    given = torch.randn(2, 5, 6), torch.randn(count, 2, 8)
    torch.onnx.export(network, given, file, dynamo=False, input_names=["x", "first"], opset_version=17, dynamic_axes=axes)
    model = import_onnx(onnx.load_model_from_string(file.getvalue()))
    given = torch.randn(3, 5, 6), torch.randn(count, 3, 8)
    inputs = [np.transpose(x.numpy(), order) for x, order in zip(given, model.onnx_orders["inputs"], strict=True)]
    with torch.no_grad():
        expected = network(*given)
    for y, order, e in zip(model(inputs), model.onnx_orders["outputs"], expected, strict=True):
        np.testing.assert_allclose(np.transpose(y, np.argsort(order)), e.numpy(), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("opset", [13, 17, 20])
@pytest.mark.parametrize("name", ["ConvNext", "transformer", "shuffled", "normalised", "cut", "words"])
@pytest.mark.filterwarnings("ignore")
def test_networks_that_pytorch_exports(name, opset, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network, shape = networks_of_pytorch()[name]

    def images(batch):
        return torch.randn(batch, *shape) if shape else torch.randint(0, 20, (batch, 7))

    for axes in ({}, {"x": {0: "n"}}):
        file, x = io.BytesIO(), images(2)
        torch.onnx.export(network.eval(), (x,), file, dynamo=False, input_names=["x"], opset_version=opset, dynamic_axes=axes)
        x = images(3) if axes else x
        model = import_onnx(onnx.load_model_from_string(file.getvalue()))
        orders = model.onnx_orders
        model.save(tmp_path / "read.npz")
        for again in (model, load_model(tmp_path / "read.npz")):
            y = again(np.transpose(x.numpy(), orders["inputs"][0]))
            with torch.no_grad():
                expected = network(x).numpy()
            np.testing.assert_allclose(np.transpose(y, np.argsort(orders["outputs"][0])), expected, rtol=1e-4, atol=2e-6)
    if name == "transformer" and opset == 17:
        images_here = np.transpose(images(40).numpy(), orders["inputs"][0])
        assert check_gradients(model.astype("float64"), images_here[:2])
        model.astype("float32").compile(Adam(0.01), SparseCategoricalCrossentropy(from_logits=True))
        before = [w.copy() for w in model.trainable_weights]
        losses = model.fit(images_here, np.arange(40) % 5, epochs=20, verbose=0).history["loss"]
        assert losses[-1] < losses[0] - 0.1
        assert all(np.any(w != old) for w, old in zip(model.trainable_weights, before, strict=True))


def test_whole_networks_of_the_standard():
    from pathlib import Path

    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    files = sorted(folder.glob("light_*.onnx"))
    if not files:
        pytest.skip("the onnx wheel has no light networks")
    names = os.environ.get("MINITL_LIGHT", "shufflenet squeezenet densenet121").split()
    for file in files:
        if not any(name in file.name for name in names) and names != ["all"]:
            continue
        proto, expected = onnx.load(file), onnx.TensorProto()
        expected.ParseFromString(file.with_name(file.stem + "_output_0.pb").read_bytes())
        known = {constant.name for constant in proto.graph.initializer}
        entry = next(info for info in proto.graph.input if info.name not in known)
        shape = [d.dim_value for d in entry.type.tensor_type.shape.dim]
        x = (np.arange(np.prod(shape)).reshape(shape) / np.prod(shape)).astype(np.float32)
        network = import_onnx(file)
        y = network(np.transpose(x, network.onnx_orders["inputs"][0]))
        y = np.transpose(y, np.argsort(network.onnx_orders["outputs"][0]))
        np.testing.assert_allclose(y, onnx.numpy_helper.to_array(expected), rtol=1e-3, atol=1e-5)


def ones(*shape):
    return np.ones(shape, np.float32)


IMAGE, OPEN, LINE = ("N", 3, 8, 8), ("N", 3, None, None), ("N", 3, 8)
REFUSED = {  # shape of x, node, attributes, constants, what is said
    "max of open images": (OPEN, "MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, {}, "images of a known size"),
    "ceil of open images": (OPEN, "MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1}, {}, "ceil_mode needs images"),
    "border of open images": (OPEN, "MaxPool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, {}, "SAME_UPPER needs"),
    "means of open images": (OPEN, "AveragePool", {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]}, {}, "means at the border need"),
    "turned from open images": (OPEN, "ConvTranspose", {}, {"w": ones(3, 2, 3, 3)}, "transposed convolutions need images"),
    "blocks of open images": (OPEN, "SpaceToDepth", {"blocksize": 2}, {}, "images of a known size"),
    "shape of open images": (OPEN, "Shape", {}, {}, "needs a known shape"),
    "a matrix of open images": (OPEN, "Flatten", {"axis": 2}, {}, "axis 2 needs a known shape behind it"),
    "negative pads": (IMAGE, "MaxPool", {"kernel_shape": [2, 2], "pads": [0, -1, 0, 0]}, {}, r"negative pads \[0, -1, 0, 0\]"),
    "ceil and counted zeros": (
        IMAGE, "AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "count_include_pad": 1}, {},
        "count_include_pad together with ceil_mode is not known"),
    "negative steps at a border": (LINE, "MaxPool", {"kernel_shape": [2], "pads": [1, 0]}, {}, "sequences that may be negative"),
    "pooling over three axes": (("N", 3, 4, 4, 4), "GlobalMaxPool", {}, {}, "global pooling over 3 axes is not known"),
    "convolution over three axes": (("N", 3, 4, 4, 4), "Conv", {}, {"w": ones(2, 3, 2, 2, 2)}, "convolutions over 3 axes"),
    "a kernel that comes in": (IMAGE, "Conv", {}, {"inputs": ["x", "x"]}, "input 'x' depends on the data; only constants"),
    "other channels": (IMAGE, "Pad", {}, {"p": np.array([0, 1, 0, 0, 0, 0, 0, 0]), "v": ones()}, "other channels with value 1.0"),
    "other ends of steps": (LINE, "Pad", {}, {"p": np.array([0, 0, 1, 0, 0, 0]), "v": ones()}, "zeros are known, and others"),
    "mirrored borders of open images": (
        OPEN, "Pad", {"mode": "reflect"}, {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}, "mode 'reflect' along an axis whose size"),
    "other borders": (IMAGE, "Pad", {"mode": "mean"}, {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}, "mode 'mean'; known: constant"),
    "negative borders": (IMAGE, "Pad", {}, {"p": np.array([0, 0, 1, 1, 0, 0, -1, 1])}, "negative ones, and those of the batch"),
    "more samples": (IMAGE, "Pad", {}, {"p": np.array([1, 0, 0, 0, 0, 0, 0, 0])}, "negative ones, and those of the batch"),
    "several open axes": (OPEN, "Reshape", {}, {"s": np.array([0, -1, 2, 0])}, "several open axes are not known"),
    "cut where the data say": (LINE, "Slice", {}, {"inputs": ["x", "x", "x"]}, "depends on the data"),
    "chosen by the data": (LINE, "Gather", {}, {"inputs": ["x", "x"]}, "places that depend on the data are not known"),
    "columns chosen by the data": (LINE, "Gather", {"axis": 1}, {"inputs": ["w", "x"], "w": ones(3, 3)}, "rows of a matrix"),
    "a shape that comes in": (LINE, "Expand", {}, {"inputs": ["x", "x"]}, "depends on the data"),
    "no shape": (LINE, "Tile", {}, {"inputs": ["x", ""]}, "needs a shape that is a constant"),
    "no such operation of two": (IMAGE, "BitShift", {"direction": "LEFT"}, {"inputs": ["x", "x"]}, "unknown operator 'BitShift'"),
    "other activations": (
        ("T", 2, 3), "RNN", {"hidden_size": 2, "activations": ["Affine"]}, {"w": ones(1, 2, 3), "r": ones(1, 2, 2)},
        r"activation Affine with \(\) is not known; \['Elu', .*\] are"),
    "too few activations": (
        ("T", 2, 3), "LSTM", {"hidden_size": 2, "activations": ["Relu"]}, {"w": ones(1, 8, 3), "r": ones(1, 8, 2)},
        r"activations \['Relu'\]: 3 belong there, such as \['Sigmoid', 'Tanh', 'Tanh'\]"),
    "two activations of a GRU's four": (
        ("T", 2, 3), "GRU", {"hidden_size": 2, "direction": "bidirectional", "activations": ["Sigmoid", "Tanh"]},
        {"w": ones(2, 6, 3), "r": ones(2, 6, 2)}, "4 belong there"),
    "clipped states": (
        ("T", 2, 3), "RNN", {"hidden_size": 2, "clip": 1.0}, {"w": ones(1, 2, 3), "r": ones(1, 2, 2)}, "clip, input_forget and"),
    "several lengths": (
        ("T", 2, 3), "RNN", {"hidden_size": 2},
        {"inputs": ["x", "w", "r", "", "n"], "w": ones(1, 2, 3), "r": ones(1, 2, 2), "n": np.array([1, 2], np.int32)},
        "sequences of several lengths"),
    "a first state": (
        (5, 2, 3), "RNN", {"hidden_size": 2},
        {"inputs": ["x", "w", "r", "", "", "h"], "w": ones(1, 2, 3), "r": ones(1, 2, 2), "h": ones(1, 2, 2)},
        "a first state that is a constant, and not zero, is not known"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_uses_of_operators_that_are_refused(name):
    shape, kind, attributes, given, message = REFUSED[name]
    constants = {key: value for key, value in given.items() if key != "inputs"}
    x, y = helper.make_tensor_value_info("x", FLOAT, shape), helper.make_tensor_value_info("y", FLOAT, None)
    held = [onnx.numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(
        [node(kind, given.get("inputs", ["x", *constants]), ["y"], name="n", **attributes)], "g", [x], [y], held
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(ValueError, match=rf"node 'n' \({kind}\): .*{message}"):
        import_onnx(proto)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("border", [{}, {"pads": [2, 1, 0, 3]}, {"auto_pad": "VALID"}])
def test_convolutions_with_strides_and_dilations(groups, border):
    generator = np.random.default_rng(0)
    kernel, bias = (generator.normal(size=shape).astype("float32") for shape in ((8, 4 // groups, 3, 2), (8,)))
    settings = {"strides": [2, 3], "dilations": [3, 2], "group": groups, **border}
    x = generator.normal(size=(2, 4, 13, 12)).astype("float32")
    compared("Conv", settings, {"w": kernel, "b": bias}, x)
    compared(
        "Conv", {"strides": [2], "dilations": [3]}, {"w": kernel[:, :, :, 0]} if groups == 1 else {"w": ones(3, 4, 2)}, x[..., 0]
    )


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [[0, 0, 2, 1, 0, 0, 3, 4], [0, 2, 0, 0, 0, 1, 0, 3]])
def test_borders_of_what_is_there(mode, pads):
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 6)).astype("float32")
    compared("Pad", {"mode": mode}, {"p": np.array(pads)}, x)
    compared("Pad", {"mode": mode}, {"p": np.array([0, 1, 2, 0, 0, 3])}, x[:, 0])


def compared(kind, attributes, constants, x):
    """One node in ONNX Runtime and here."""
    held = [onnx.numpy_helper.from_array(value, key) for key, value in constants.items()]
    into, out = helper.make_tensor_value_info("x", FLOAT, ("N", *x.shape[1:])), helper.make_tensor_value_info("y", FLOAT, None)
    graph = helper.make_graph([node(kind, ["x", *constants], ["y"], name="n", **attributes)], "g", [into], [out], held)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=8)
    expected = pytest.importorskip("onnxruntime").InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0]
    model = import_onnx(proto)
    y = model.predict(np.transpose(x, model.onnx_orders["inputs"][0]))
    np.testing.assert_allclose(np.transpose(y, np.argsort(model.onnx_orders["outputs"][0])), expected, rtol=1e-4, atol=1e-5)


def test_graphs_whose_inputs_and_outputs_are_not_read(tmp_path):
    def refused(shape, kind, message, nodes=(), y="y"):
        x, out = helper.make_tensor_value_info("x", kind, shape), helper.make_tensor_value_info(y, FLOAT, None)
        graph = helper.make_graph(list(nodes) or [node("Identity", ["x"], ["y"])], "g", [x], [out])
        with pytest.raises(ValueError, match=message):
            import_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))

    kinds = onnx.TensorProto
    refused((2, 3), kinds.STRING, "the input 'x' holds object, not numbers")
    refused((2, 3), kinds.COMPLEX64, "the input 'x' holds complex64, not numbers")
    refused((), FLOAT, "the input 'x' has no axis; a batch is needed")
    one = helper.make_tensor("value", FLOAT, (1,), [1.0])
    refused((2, 3), FLOAT, "the output 'c' depends on no input", [node("Constant", [], ["c"], value=one)], "c")
    with pytest.raises(FileNotFoundError, match=r"no file at .*none\.onnx"):
        import_onnx(tmp_path / "none.onnx")


def test_graphs_that_are_not_read_are_refused_by_node():
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    x, y = helper.make_tensor_value_info("x", float32, ["N", 3, 8, 8]), helper.make_tensor_value_info("y", float32, None)

    def refused(nodes, message, constants=()):
        model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], constants), opset_imports=[helper.make_opsetid("", 17)])
        with pytest.raises(ValueError, match=message):
            import_onnx(model)

    refused([helper.make_node("LSTM", ["x"], ["y"], name="l")], r"node 'l' \(LSTM\): has no weights")
    refused([helper.make_node("Hardmax", ["x"], ["y"], name="h")], r"node 'h' \(Hardmax\): unknown operator 'Hardmax'")
    refused([helper.make_node("Foo", ["x"], ["y"], domain="mine", name="f")], "domain 'mine'")
    body = helper.make_graph([], "b", [], [])
    refused([helper.make_node("Loop", ["", "x"], ["y"], name="l", body=body)], r"\(Loop\): unknown operator")
    first = onnx.numpy_helper.from_array(np.array([0]), "first")
    refused([helper.make_node("Squeeze", ["x", "first"], ["y"])], "takes the batch's axis", [first])
    pool, used = helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2]), helper.make_node("Neg", ["i"], ["z"])
    refused([pool, used], "places of maxima count the images")
    wide = onnx.numpy_helper.from_array(np.array([1, 1, 10**7, 1.5], np.float32), "wide")
    refused([helper.make_node("Resize", ["x", "", "wide"], ["y"], mode="linear")], "asks for a constant of", [wide])
    crop = [onnx.numpy_helper.from_array(np.array(v, t), n) for n, v, t in
            (("roi", [0, 0, 0, 0, 1, 1, 1, 1], np.float32), ("sizes", [1, 3, 4, 4], np.int64))]  # fmt: skip
    refused([helper.make_node("Resize", ["x", "roi", "", "sizes"], ["y"], coordinate_transformation_mode="tf_crop_and_resize")],
            "along axis 0, whose size is open", crop)  # fmt: skip
    refused([helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], coordinate_transformation_mode="tf_crop_and_resize")],
            "need a region", crop[1:])  # fmt: skip
    elsewhere = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "b")
    elsewhere.data_location = onnx.TensorProto.EXTERNAL
    refused([helper.make_node("Add", ["x", "b"], ["y"])], "constant 'b' is in another file; save the model in one", [elsewhere])
    huge = onnx.numpy_helper.from_array(np.array([10**6, 10**6]), "s")
    refused([helper.make_node("ConstantOfShape", ["s"], ["w"], name="c"), helper.make_node("MatMul", ["x", "w"], ["y"])],
            r"\(ConstantOfShape\): asks for a constant", [huge])  # fmt: skip
