"""Windows over a series, and data sets in parts."""

import numpy as np
import pytest

from minitl import Sequential
from minitl.layers import LSTM, Dense
from minitl.optimizers import Adam
from minitl.utils import pack_x_y_sample_weight, split_dataset, timeseries_dataset_from_array, unpack_x_y_sample_weight


def test_windows_and_their_targets():
    series = np.arange(6)
    batches = list(timeseries_dataset_from_array(series, targets=series[3:], sequence_length=3, batch_size=2))
    assert [x.tolist() for x, _ in batches] == [[[0, 1, 2], [1, 2, 3]], [[2, 3, 4]]]
    assert [y.tolist() for _, y in batches] == [[3, 4], [5]] and batches[0][0].numpy().shape == (2, 3)


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("rate", [1, 3])
@pytest.mark.parametrize("ends", [(None, None), (2, 25)])
def test_every_window_by_hand(length, stride, rate, ends):
    data, targets = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30.0)
    first, last = ends[0] or 0, ends[1] or 30
    expected = [
        (data[[start + k * rate for k in range(length)]], targets[start])
        for start in range(first, last, stride)
        if start + (length - 1) * rate < last
    ]
    found = timeseries_dataset_from_array(data, targets, length, stride, rate, 4, start_index=ends[0], end_index=ends[1])
    assert len(found) == -(-len(expected) // 4) == len(list(found))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in found]), [x for x, _ in expected])
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), [y for _, y in expected])
    alone = timeseries_dataset_from_array(data, None, length, stride, rate, None, start_index=ends[0], end_index=ends[1])
    np.testing.assert_array_equal(list(alone), [x for x, _ in expected])


def test_shuffled_windows_are_the_same_windows():
    series = np.arange(50)
    data = timeseries_dataset_from_array(series, series[5:], 5, shuffle=True, seed=1, batch_size=8)
    first, second = (np.concatenate([y for _, y in data]) for _ in range(2))
    assert first.tolist() != second.tolist() and sorted(first) == sorted(second) == list(range(5, 50))
    assert all((x[:, -1] + 1 == y).all() for x, y in data)


def test_a_network_learns_from_windows():
    series = np.sin(np.arange(200) / 5).astype(np.float32)
    data = timeseries_dataset_from_array(series[:-10, None], series[10:], 10, batch_size=32)
    model = Sequential([LSTM(8), Dense(1)])
    model.compile(Adam(0.02), "mse")
    losses = model.fit(data, epochs=10, validation_data=data, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    "settings", [{"sequence_length": 0}, {"sequence_length": 11}, {"sequence_length": 3, "start_index": 8, "end_index": 3}]
)
def test_windows_that_are_none(settings):
    with pytest.raises(ValueError, match="timeseries_dataset_from_array"):
        timeseries_dataset_from_array(np.arange(10), None, **settings)


def test_parts_of_data():
    x, y = np.arange(10), np.arange(10) * 2
    (a, b), (c, d) = split_dataset((x, y), left_size=0.8)
    assert a.tolist() == list(range(8)) and d.tolist() == [16, 18] and len(b) == 8 and len(c) == 2
    left, right = split_dataset(x, right_size=3, shuffle=True, seed=0)
    assert len(left) == 7 and sorted([*left, *right]) == list(range(10))
    for sizes in (
        {"left_size": 10},
        {"right_size": 10},
        {"left_size": 10, "right_size": 0},
        {"left_size": 0},
        {"left_size": 0, "right_size": 4},
        {"left_size": 7, "right_size": 4},
    ):
        with pytest.raises(ValueError, match="do not part 10 samples"):
            split_dataset(x, **sizes)
    assert pack_x_y_sample_weight(x) is x and pack_x_y_sample_weight([x]) == ([x],) and pack_x_y_sample_weight(x, y) == (x, y)
    assert unpack_x_y_sample_weight(x) == (x, None, None) and unpack_x_y_sample_weight((x, y)) == (x, y, None)


def test_windows_one_by_one():
    from minitl.preprocessing import timeseries_dataset_from_array

    data = np.arange(7)
    alone = timeseries_dataset_from_array(data, None, sequence_length=3, batch_size=None)
    assert len(alone) == 5 and [np.asarray(window).tolist() for window in alone][-1] == [4, 5, 6]
    assert len(timeseries_dataset_from_array(data, None, sequence_length=3, batch_size=2)) == 3
