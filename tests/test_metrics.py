"""Metrics against Keras's, in two batches of different size, with and without sample weights."""

import numpy as np
import pytest

import minitl
from minitl import metrics

RANDOM = np.random.default_rng(0)
YES, SHARES = (RANDOM.random((9, 3)) > 0.5).astype("float32"), RANDOM.random((9, 3)).astype("float32")
CHANCES, LABELS, WEIGHTS = SHARES / SHARES.sum(axis=1, keepdims=True), RANDOM.integers(0, 3, 9), RANDOM.uniform(0.2, 2, 9)
ONE_HOT, A, B = np.eye(3, dtype="float32")[LABELS], *RANDOM.normal(size=(2, 9, 4, 2)).astype("float32")
PIXELS, OF_PIXELS = RANDOM.integers(0, 3, (9, 4)), RANDOM.random((9, 4, 3)).astype("float32")
GUESSES = RANDOM.integers(0, 3, (9, 4))
CASES = [
    ("Precision", {}, YES, SHARES), ("Precision", {"thresholds": 0.7}, YES, SHARES), ("Recall", {}, YES, SHARES),
    ("AUC", {"num_thresholds": 20}, YES, SHARES), ("AUC", {}, YES[:, :1], SHARES[:, :1]),
    ("TruePositives", {"thresholds": 0.3}, YES, SHARES), ("FalseNegatives", {}, YES, SHARES),
    ("FalsePositives", {}, YES, SHARES), ("TrueNegatives", {}, YES, SHARES), ("BinaryAccuracy", {}, YES, SHARES),
    ("BinaryAccuracy", {"threshold": 0.8}, YES, SHARES), ("CategoricalAccuracy", {}, ONE_HOT, CHANCES),
    ("CategoricalAccuracy", {}, np.eye(3)[PIXELS], OF_PIXELS), ("SparseCategoricalAccuracy", {}, LABELS, CHANCES),
    ("SparseCategoricalAccuracy", {}, PIXELS, OF_PIXELS), ("TopKCategoricalAccuracy", {"k": 2}, ONE_HOT, CHANCES),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, LABELS, CHANCES), ("SparseTopKCategoricalAccuracy", {"k": 1}, PIXELS, OF_PIXELS),
    ("MeanSquaredError", {}, A, B), ("MeanAbsoluteError", {}, A, B), ("RootMeanSquaredError", {}, A, B),
    ("R2Score", {}, A[:, 0], B[:, 0]),
    ("SparseTopKCategoricalAccuracy", {"k": 2, "from_sorted_ids": True}, LABELS, (-SHARES).argsort(axis=1)),
    ("SparseTopKCategoricalAccuracy", {"k": 1, "from_sorted_ids": True}, PIXELS, (-OF_PIXELS).argsort(axis=-1)),
    ("R2Score", {"num_regressors": 3, "class_aggregation": "variance_weighted_average"}, A[:, 0], B[:, 0]),
    ("R2Score", {"num_regressors": 36}, A[:, 0], B[:, 0]), ("CosineSimilarity", {}, A, B),
    ("PearsonCorrelation", {}, A[:, :, 0], B[:, :, 0]),
    ("PearsonCorrelation", {"axis": 1}, A, B), ("ConcordanceCorrelation", {}, A[:, :, 0], B[:, :, 0]),
    ("ConcordanceCorrelation", {"axis": 1}, A, A + 0.1 * B), ("Accuracy", {}, LABELS, ONE_HOT[:, 1].astype(int)),
    ("Accuracy", {}, ONE_HOT.astype(int), YES.astype(int)), ("Accuracy", {}, LABELS[:, None], np.roll(LABELS, 1)[:, None]),
    ("Accuracy", {}, YES[:, 0], YES[:, 1]), ("KLDivergence", {}, ONE_HOT, CHANCES),
    ("Poisson", {}, abs(A), abs(B)), ("BinaryCrossentropy", {"from_logits": True}, YES, A[:, :3, 0]),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, ONE_HOT, CHANCES),
    ("SparseCategoricalCrossentropy", {}, LABELS, CHANCES),
    ("Hinge", {}, 2 * YES - 1, SHARES),
    ("MeanAbsolutePercentageError", {}, A, B), ("LogCoshError", {}, A, B),
    ("FBetaScore", {"average": "micro", "beta": 2.0}, ONE_HOT, CHANCES),
    ("F1Score", {"average": "macro"}, ONE_HOT, CHANCES), ("F1Score", {"average": "weighted", "threshold": 0.3}, YES, SHARES),
    ("F1Score", {"average": "micro", "threshold": 0.5}, YES[:, :1], SHARES[:, :1]),
    ("MeanSquaredLogarithmicError", {}, abs(A), abs(B)),
    ("Precision", {"top_k": 2}, ONE_HOT, CHANCES), ("Recall", {"top_k": 2, "class_id": 0}, ONE_HOT, CHANCES),
    ("Recall", {"top_k": 2, "thresholds": 0.4}, YES, SHARES), ("Precision", {"class_id": 1, "thresholds": 0.3}, ONE_HOT, CHANCES),
    ("AUC", {"from_logits": True, "curve": "PR"}, YES, A[:, :3, 0]), ("AUC", {}, YES, 2 * A[:, :3, 0]),
    *(
        ("AUC", {"curve": curve, "summation_method": method, **more}, YES, SHARES)
        for curve in ("ROC", "PR", "PRGAIN")
        for method in ("interpolation", "minoring", "majoring")
        for more in ({"label_weights": [1, 2, 0.5]}, {"multi_label": True, "num_labels": 3}, {"thresholds": [0.5, 0.3, 0.9]},
                     {"multi_label": True, "label_weights": [1, 2, 0.5], "num_thresholds": 7})
    ),
    *(
        (name, {bound: least, **more}, YES, SHARES)
        for name, bound in (("PrecisionAtRecall", "recall"), ("RecallAtPrecision", "precision"),
                            ("SensitivityAtSpecificity", "specificity"), ("SpecificityAtSensitivity", "sensitivity"))
        for least, more in ((0.3, {}), (0.8, {"num_thresholds": 30}), (1.0, {"class_id": 2}), (0.5, {"num_thresholds": 1}))
    ),
]  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "settings", "y_true", "y_pred"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_metrics_are_keras_s(name, settings, y_true, y_pred, weighted):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    found = []
    for place in (metrics, keras.metrics):
        metric = getattr(place, name)(**settings)
        for _ in range(2):
            metric.reset_state()
            for part in (slice(0, 5), slice(5, 9)):
                metric.update_state(y_true[part], y_pred[part], WEIGHTS[part] if weighted else None)
        found.append(float(metric.result()))
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-5)
    again = type(metric := getattr(metrics, name)(**settings)).from_config(metric.get_config())
    again.update_state(y_true, y_pred, WEIGHTS if weighted else None)
    assert again.result() == pytest.approx(found[0], rel=1e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_overlap_by_hand(weights):
    metric = metrics.MeanIoU(num_classes=4)  # of which one does not occur
    for part in (slice(0, 5), slice(5, 9)):
        metric.update_state(PIXELS[part], GUESSES[part], None if weights is None else weights[part])
    of_pixels = np.ones((9, 4)) if weights is None else np.repeat(weights[:, None], 4, axis=1)
    shares = []
    for number in range(3):
        both, either = (number == PIXELS) & (number == GUESSES), (number == PIXELS) | (number == GUESSES)
        shares.append(of_pixels[both].sum() / of_pixels[either].sum())
    assert metric.result() == pytest.approx(np.mean(shares))
    chances = metrics.MeanIoU(num_classes=3)
    chances.update_state(PIXELS, OF_PIXELS, weights)
    classes = metrics.MeanIoU(num_classes=3)
    classes.update_state(PIXELS, OF_PIXELS.argmax(axis=-1), weights)
    assert chances.result() == classes.result()
    assert metrics.MeanIoU(num_classes=3).result() == 0


def test_the_mean_of_numbers():
    mean = metrics.Mean()
    mean.update_state([1.0, 3.0])
    mean.update_state([10.0, 4.0], sample_weight=[0.0, 2.0])
    assert mean.result() == pytest.approx((1 + 3 + 8) / 4)
    mean.reset_state()
    mean.update_state(7.0)
    assert mean.result() == 7


def test_confusion_counts_true_by_predicted():
    assert metrics.confusion_matrix([0, 1, 2, 2], [0, 2, 2, 1]).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 1]]
    assert metrics.confusion_matrix(np.array([[0], [1]]), np.eye(3)[[2, 1]], classes=4).shape == (4, 4)
    assert metrics.confusion_matrix([], []).shape == (0, 0)
    for wrong in ([0, -1], [0, 3]):
        with pytest.raises(ValueError, match=r"class numbers must lie in 0 \.\. 2"):
            metrics.confusion_matrix([0, 1], wrong, classes=3)
    with pytest.raises(ValueError, match="one prediction per sample"):
        metrics.confusion_matrix([0, 1], [0])


def test_a_prediction_that_is_the_threshold_is_a_no():
    for threshold in (0.5, 0.7):
        metric = metrics.BinaryAccuracy(threshold=threshold)
        metric.update_state(np.array([[0.0], [1.0]]), np.array([[threshold], [threshold]]))
        assert metric.result() == 0.5
    metric = metrics.Precision()
    metric.update_state([1.0, 0.0], [0.5, 0.6])
    assert metric.result() == 0 and [v.item() for v in metric.variables] == [0, 1, 1, 0]


def test_several_thresholds_give_several_numbers_in_their_order():
    limits, weights = [0.7, 0.2, 0.4], WEIGHTS[:, None] * np.ones((1, 3))
    for kind, name in (
        (metrics.Precision, "true_positives"),
        (metrics.Recall, "true_positives"),
        (metrics.FalseNegatives, "false_negatives"),
    ):
        metric = kind(thresholds=limits)
        for part in (slice(0, 5), slice(5, 9)):
            metric.update_state(YES[part], SHARES[part], WEIGHTS[part])
        each = [kind(thresholds=limit) for limit in limits]
        for one in each:
            one.update_state(YES, SHARES, weights)  # a weight per number
        assert metric.result() == pytest.approx([one.result() for one in each]) and len(set(metric.result())) == 3
        assert getattr(metric, name) == pytest.approx([getattr(one, name)[0] for one in each])
        again = kind(thresholds=limits)
        again.set_state(metric.get_state())
        assert again.result().tolist() == metric.result().tolist()


def test_what_is_not_a_number_is_a_no_and_of_equal_ones_the_first_are_largest():
    metric = metrics.TruePositives(thresholds=0.0)
    metric.update_state([1.0, 1.0, 1.0], [np.nan, 0.5, 0.0])
    assert metric.result() == 1
    metric = metrics.Precision(top_k=2)
    metric.update_state([[1.0, 0.0, 1.0]], [[0.0, 0.0, 0.0]])
    assert metric.true_positives == metric.false_positives == 1


def test_cosines_along_another_axis():
    t, p = RANDOM.normal(size=(2, 5, 3, 4))
    metric = metrics.CosineSimilarity(axis=1)
    metric.update_state(t, p)
    expected = (t * p).sum(1) / np.sqrt((t**2).sum(1) * (p**2).sum(1))
    assert metric.result() == pytest.approx(expected.mean(), rel=1e-6)


def test_classes_are_ranked_at_every_step():
    steps, flat = metrics.Precision(top_k=1), metrics.Precision(top_k=1)
    p = RANDOM.uniform(size=(2, 3, 4))
    targets = np.eye(4)[RANDOM.integers(0, 4, (2, 3))]
    steps.update_state(targets, p)
    flat.update_state(targets.reshape(6, 4), p.reshape(6, 4))
    assert steps.false_positives + steps.true_positives == flat.false_positives + flat.true_positives == 6
    assert steps.true_positives == flat.true_positives == (p.argmax(-1) == targets.argmax(-1)).sum()


def test_sequences_are_weighted_per_step():
    steps = RANDOM.uniform(size=(9, 4))
    of_steps, of_numbers = metrics.Recall(thresholds=0.4), metrics.Recall(thresholds=0.4)
    of_steps.update_state(PIXELS, OF_PIXELS, steps)
    of_numbers.update_state(np.eye(3)[PIXELS], OF_PIXELS, np.repeat(steps[..., None], 3, axis=-1))
    assert of_steps.result() == of_numbers.result() and 0 < of_steps.result() < 1


def test_weights_of_a_column_and_targets_halfway():
    columns, rows = metrics.Recall(), metrics.Recall()
    columns.update_state(YES[:, 0], SHARES[:, 0], WEIGHTS[:, None])
    rows.update_state(YES[:, 0], SHARES[:, 0], WEIGHTS)
    assert columns.result() == rows.result() > 0 and columns.true_positives == rows.true_positives
    for metric in (metrics.TruePositives(), metrics.AUC()):
        metric.update_state([0.5, 0.6], [0.9, 0.9])
        assert metric.true_positives[0] == 1 and metric.false_positives[0] == 1  # halfway is a no


def test_accuracy_of_a_single_output():
    metric = metrics.Accuracy()
    metric.update_state([[1], [0], [1], [0]], [[0.9], [0.4], [0.2], [0.5]])
    assert metric.result() == 0.75
    metric.update_state([1, 1, 1, 1], [[0.9], [0.9], [0.9], [0.5]])
    assert metric.result() == 0.75
    with pytest.raises(NotImplementedError, match=r"Metric must define values\(y_true, y_pred\)"):
        metrics.Metric()([1.0], [1.0])


def test_variables_of_a_metric_begin_anew():
    class Largest(metrics.Metric):
        def __init__(self):
            super().__init__("largest")
            self.most = self.add_weight("most", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.most.assign(max(float(self.most), np.max(y_pred)))

        def result(self):
            return float(self.most)

    metric = Largest()
    assert metric.add_weight((2,), name="pair").shape == metric.add_weight("other", (2,)).shape == (2,)
    assert metric.add_weight(name="one", shape=()).shape == metric.add_weight((), name="one").shape == ()
    ones = metric.add_weight((3,), "ones", "float32", name="ones")
    assert ones.tolist() == [1, 1, 1] and (ones.dtype, ones.name) == (np.float32, "ones")
    assert metric.add_weight("twos", (2,), "ones").tolist() == metric.add_weight(None, (2,), "ones").tolist() == [1, 1]
    metric = Largest()
    assert metric([1.0], [3.0]) == 3
    metric.reset_state()
    assert metric.result() == 0


def test_wrong_settings_of_counts_and_curves():
    for made, message in (
        (lambda: metrics.Precision(thresholds=[0.2, 1.2]), r"Precision: thresholds must lie in \[0, 1\], got \[0.2, 1.2\]"),
        (lambda: metrics.Recall(top_k=0), "Recall: top_k must be a whole number of at least 1, got 0"),
        (lambda: metrics.AUC(num_thresholds=1), "AUC: num_thresholds must be at least 2, got 1"),
        (lambda: metrics.AUC(thresholds=[0.5, -0.1]), "AUC: thresholds must lie in"),
        (lambda: metrics.AUC(summation_method="mean"), "unknown AUC: summation_method 'mean'"),
        (lambda: metrics.AUC(num_labels=3), "AUC: num_labels=3 is for multi_label=True"),
        (lambda: metrics.PrecisionAtRecall(1.5), r"PrecisionAtRecall: recall must be a number in \[0, 1\], got 1.5"),
        (lambda: metrics.RecallAtPrecision(0.5, num_thresholds=0), "RecallAtPrecision: num_thresholds must be a whole number"),
        (lambda: metrics.Precision(class_id=3).update_state(YES, SHARES), "class_id=3 is no output of predictions of shape"),
        (lambda: metrics.AUC(multi_label=True, num_labels=4).update_state(YES, SHARES), r"expected .* \(N, 4\), one per label"),
        (lambda: metrics.AUC(label_weights=[1, 2]).update_state(YES, SHARES), r"expected .* \(N, 2\), one per label"),
    ):
        with pytest.raises(ValueError, match=message):
            made()


def test_before_the_first_batch_all_are_zero():
    for metric in (
        metrics.AUC(), metrics.AUC(curve="PR"), metrics.AUC(multi_label=True), metrics.PrecisionAtRecall(0.5), metrics.Recall(),
        metrics.AUC(multi_label=True, label_weights=[1, 2]), metrics.SpecificityAtSensitivity(0.5),
    ):  # fmt: skip
        assert metric.result() == 0


def test_metrics_made_of_ours_may_add_what_they_like():
    class OfChances(metrics.MeanIoU):
        def update_state(self, y_true, y_pred, sample_weight=None):
            return super().update_state(y_true, y_pred.argmax(axis=-1), sample_weight)

    class Counting(metrics.Precision):
        def __init__(self):
            super().__init__()
            self.batches = 0

        def reset_state(self):
            super().reset_state()
            self.batches = 1 + self.batches  # which a constructor above has not made

    metric, counting = OfChances(num_classes=3), Counting()
    metric.update_state(PIXELS, OF_PIXELS)
    counting.update_state(YES, SHARES)
    plain = metrics.MeanIoU(num_classes=3)
    plain.update_state(PIXELS, OF_PIXELS.argmax(axis=-1))
    assert metric.result() == plain.result() and counting.batches == 0 and counting.result() > 0


def test_the_mean_of_a_function_with_settings():
    def far(y_true, y_pred, power):
        return abs(y_true - y_pred) ** power

    metric = metrics.MeanMetricWrapper(far, name="far", power=3)
    metric.update_state([1.0, 4.0], [2.0, 2.0], sample_weight=[1, 3])
    assert metric.result() == pytest.approx((1 + 3 * 8) / 4) and metric.name == "far"
    again = metrics.MeanMetricWrapper.from_config(metric.get_config())
    again.update_state([1.0], [3.0])
    assert again.result() == 8
    assert metrics.MeanMetricWrapper(lambda y_true, y_pred: 5)([1.0, 2.0], [0.0, 0.0]) == 5


def test_the_area_counts_predictions_at_the_ends_and_knows_two_curves():
    for predicted, area in (([1.0, 0.0], 1.0), ([0.0, 1.0], 0.0), ([1.0, 1.0], 0.5), ([0.0, 0.0], 0.5)):
        metric = metrics.AUC()
        metric.update_state([1.0, 0.0], predicted)
        assert metric.result() == area
    with pytest.raises(ValueError, match="unknown AUC: curve 'GAIN'; known: PR, PRGAIN, ROC"):
        metrics.AUC(curve="GAIN")


def test_f1_is_between_precision_and_recall():
    metric = metrics.F1Score()
    assert metric.result() == 0 and metric.name == "f1_score"
    metric.update_state([1.0, 1.0, 1.0, 0.0], [0.9, 0.6, 0.1, 0.8])
    assert metric.result() == pytest.approx(2 * (2 / 3) * (2 / 3) / (2 / 3 + 2 / 3))
    metric.update_state([1.0, 0.0], [0.2, 0.1])
    assert metric.result() == pytest.approx(2 * 2 / (2 * 2 + 1 + 2))


def test_class_numbers_may_stand_in_a_column():
    metric = metrics.Accuracy()
    assert metric.result() == 0
    metric.update_state(LABELS[:, None], CHANCES)
    assert metric.result() == (CHANCES.argmax(axis=1) == LABELS).mean()
    with pytest.raises(ValueError, match="metric: targets"):
        metrics.Accuracy().update_state(LABELS[:5], CHANCES)
    counts = metrics.Precision()
    counts.update_state(LABELS, CHANCES)  # against each class's share
    yes = CHANCES > 0.5
    assert counts.result() == pytest.approx((yes & (ONE_HOT > 0.5)).sum() / yes.sum())


def test_a_target_that_is_the_threshold_is_a_no():
    metric = metrics.BinaryAccuracy()
    metric.update_state(np.array([[0.5], [0.5]]), np.array([[0.4], [0.6]]))
    assert metric.result() == 0.5


def test_class_numbers_of_confusion_begin_at_zero():
    assert metrics.confusion_matrix([0, 0], [0, 0]).tolist() == [[2]]
    assert metrics.confusion_matrix([3], [1]).shape == (4, 4) and metrics.confusion_matrix([1], [3]).shape == (4, 4)
    for true, predicted in (([-1], [0]), ([0], [-1])):
        with pytest.raises(ValueError, match="class numbers must lie in"):
            metrics.confusion_matrix(true, predicted)


OVERLAPS = [
    ("IoU", {"num_classes": 3, "target_class_ids": [1]}, PIXELS, GUESSES),
    ("IoU", {"num_classes": 3, "target_class_ids": [0, 2], "ignore_class": 1}, PIXELS, GUESSES),
    ("IoU", {"num_classes": 3, "target_class_ids": [0], "sparse_y_pred": False}, PIXELS, OF_PIXELS),
    ("MeanIoU", {"num_classes": 3, "ignore_class": 0, "sparse_y_pred": False}, PIXELS, OF_PIXELS),
    ("MeanIoU", {"num_classes": 2}, np.minimum(PIXELS, 1), np.minimum(GUESSES, 1)),
    ("BinaryIoU", {}, YES, SHARES), ("BinaryIoU", {"target_class_ids": [1], "threshold": 0.2}, YES, SHARES),
    ("OneHotIoU", {"num_classes": 3, "target_class_ids": [1, 2]}, ONE_HOT, CHANCES + 0.4 * ONE_HOT),
    ("OneHotMeanIoU", {"num_classes": 3}, ONE_HOT, CHANCES + 0.4 * ONE_HOT),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings", "y_true", "y_pred"), OVERLAPS)
def test_overlaps_are_keras_s(name, settings, y_true, y_pred):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    ours, theirs = getattr(metrics, name)(**settings), getattr(keras.metrics, name)(**settings)
    for part in (slice(0, 5), slice(5, 9)):
        ours.update_state(y_true[part], y_pred[part])
        theirs.update_state(y_true[part], y_pred[part])
    assert ours.result() == pytest.approx(float(theirs.result()), rel=1e-5) and ours.result() > 0
    again = type(ours).from_config(ours.get_config())
    again.update_state(y_true, y_pred)
    assert again.result() == pytest.approx(ours.result())


def test_weights_and_numbers_outside_count_in_overlaps():
    metric = metrics.IoU(2, [1])
    metric.update_state([1, 1, 0, 5, -1], [1, 0, 1, 1, 1], [1, 0.5, 0.25, 9, 9])
    assert metric.result() == pytest.approx(1 / 1.75)
    with pytest.raises(ValueError, match=r"target_class_ids must be below num_classes=2, got .2."):
        metrics.IoU(2, [2])


def test_a_metric_with_one_number_per_class(capsys, tmp_path):
    from minitl import Input, Sequential
    from minitl.layers import Dense
    from minitl.models import load_model

    model = Sequential([Input((3,)), Dense(3, activation="softmax")])
    model.compile("adam", "categorical_crossentropy", metrics=[metrics.F1Score(), "accuracy"])
    found = model.fit(CHANCES, ONE_HOT, epochs=2, verbose=2).history["f1_score"]
    assert len(found) == 2 and len(found[0]) == 3 and "f1_score [" in capsys.readouterr().out
    assert "f1_score [" in repr(model.history)
    model.save(tmp_path / "m.npz")
    assert load_model(tmp_path / "m.npz").evaluate(CHANCES, ONE_HOT, verbose=0) == model.evaluate(CHANCES, ONE_HOT, verbose=0)
    total = metrics.Sum()
    total.update_state([1, 2], sample_weight=[1, 0.5])
    assert total.result() == 2
    with pytest.raises(ValueError, match="unknown average 'mean'"):
        metrics.F1Score("mean")


def surest(y_true, y_pred):
    return np.max(y_pred)


def test_a_metric_that_is_a_function_is_loaded(tmp_path):
    from minitl import Input, Sequential
    from minitl.layers import Dense
    from minitl.models import load_model

    model = Sequential([Input((3,)), Dense(2, activation="softmax")])
    model.compile("sgd", "mse", metrics=[surest])
    expected = model.evaluate(SHARES, YES[:, :2], verbose=0)
    model.save(tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz", custom_objects={"surest": surest})
    assert again.evaluate(SHARES, YES[:, :2], verbose=0) == expected
    with pytest.raises(ValueError, match=r"custom_objects=.'surest': surest"):
        load_model(tmp_path / "m.npz")


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_a_share_exactly_at_the_threshold_is_a_no_for_f1(threshold):
    metric = metrics.F1Score(threshold=threshold)
    metric.update_state(np.array([[1], [1], [0]]), np.array([[0.5], [0.75], [0.25]]))
    assert metric.result() == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("name", "settings", "y_true", "y_pred"),
    [
        ("BinaryAccuracy", {}, YES, SHARES), ("MeanSquaredError", {}, A, B), ("MeanAbsoluteError", {}, A, B),
        ("SparseCategoricalAccuracy", {}, PIXELS, OF_PIXELS),
        ("AUC", {}, YES, SHARES), ("R2Score", {"class_aggregation": None, "num_regressors": 2}, A[:, 0], B[:, 0]),
    ],
)  # fmt: skip
def test_weights_of_outputs_and_steps_are_keras_s(name, settings, y_true, y_pred):
    """One weight per sample, and one per output or step."""
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    ours, theirs = (getattr(module.metrics, name)(**settings) for module in (minitl, keras))
    columns = y_pred.shape[1]
    kinds = [WEIGHTS] if name == "R2Score" else [WEIGHTS, RANDOM.uniform(0.2, 2, (len(WEIGHTS), columns))]
    for weights in kinds:
        for metric in (ours, theirs):
            metric.reset_state()
            metric.update_state(y_true, y_pred, weights)
        assert np.asarray(ours.result()) == pytest.approx(np.asarray(theirs.result()), rel=1e-5)


def test_counts_and_thresholds_have_the_names_of_keras():
    metric = metrics.AUC(num_thresholds=3)
    assert metric.thresholds == pytest.approx([0, 0.5, 1], abs=1e-6) and len(metric.variables) == 4
    assert metrics.AUC(thresholds=[0.5]).get_config()["thresholds"] == [0.5]
    assert metrics.AUC.from_config(metric.get_config()).num_thresholds == 3
    assert [v.name for v in metrics.BinaryAccuracy().variables] == ["total", "count"]  # no setting among them
    assert [v.name for v in metrics.Precision().variables] == [
        "true_positives",
        "false_negatives",
        "false_positives",
        "true_negatives",
    ]


def test_weights_that_all_samples_share_and_those_of_classes():
    metric = metrics.BinaryAccuracy()
    metric.update_state([[1, 1], [0, 0]], [[0.9, 0.1], [0.2, 0.7]], [[3, 1]])
    assert metric.result() == 6 / 8
    score = metrics.FBetaScore(threshold=0.5)
    score.update_state([[1, 1], [1, 0]], [[0.2, 0.6], [0.2, 0.6]], [[0.5, 0.2], [0.3, 0.8]])
    assert score.result() == pytest.approx([0, 1 / 3], abs=1e-5)  # 0.2 right of 1.0


def test_what_a_loss_leaves_out_its_metric_leaves_out():
    loss = minitl.losses.SparseCategoricalCrossentropy(ignore_class=1)
    for weights in (None, WEIGHTS):
        metric = metrics.SparseCategoricalCrossentropy(ignore_class=1)
        metric.update_state(LABELS, CHANCES, weights)
        each = loss.values(LABELS, CHANCES)
        counted = (LABELS != 1) * (1 if weights is None else weights)
        assert metric.result() == pytest.approx((each * counted).sum() / counted.sum())
