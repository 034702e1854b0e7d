"""The methods of tf.data that data sets of images have: which batches come, how often, and how many."""

import numpy as np
import pytest

from minitl.prefetch import prefetch
from minitl.preprocessing.image.pipeline import Dataset, tensors


class Pairs(Dataset):
    """Six batches: x is (k, k), y is 10 k; counts its passes."""

    class_names = ("a", "b")
    passes = 0

    def __iter__(self):
        self.passes += 1
        return (tensors((np.array([k, k]), np.array([10 * k]))) for k in range(6))

    def __len__(self):
        return 6


class Singles(Dataset):
    """Seven samples without labels."""

    def __iter__(self):
        return iter(np.arange(7))

    def __len__(self):
        return 7


def firsts(data):
    return [int(x[0]) for x, _ in data]


def test_map_takes_both_parts_of_a_pair_and_filter_too():
    data = Pairs().map(lambda x, y: (x + 1, y - x[0]))
    assert [(int(x[0]), int(y[0])) for x, y in data] == [(k + 1, 9 * k) for k in range(6)]
    odd = Pairs().filter(lambda x, y: y[0] % 20 == 10)
    assert firsts(odd) == [1, 3, 5] == firsts(odd)
    assert list(Singles().map(lambda x: 2 * x)) == list(range(0, 14, 2))
    with pytest.raises(TypeError, match="does not know"):
        len(odd)
    x, _ = next(iter(data))
    assert x.numpy().tolist() == [1, 1]


def test_take_and_skip():
    for count, expected in ((2, [0, 1]), (0, []), (9, list(range(6))), (-1, list(range(6)))):
        data = Pairs().take(count)
        assert firsts(data) == expected and len(data) == len(expected)
    for count, expected in ((2, [2, 3, 4, 5]), (0, list(range(6))), (9, [])):
        data = Pairs().skip(count)
        assert firsts(data) == expected and len(data) == len(expected)


def test_what_is_cached_is_kept_by_the_first_whole_pass():
    source = Pairs()
    data = source.cache()
    next(iter(data))
    assert [firsts(data) for _ in range(3)] == [list(range(6))] * 3
    assert source.passes == 2 and len(data) == 6


def test_shuffle_draws_from_a_buffer():
    data = Pairs().shuffle(6, seed=0)
    first, second = firsts(data), firsts(data)
    assert sorted(first) == sorted(second) == list(range(6)) and first != second and first != list(range(6))
    assert firsts(Pairs().shuffle(6, seed=0)) == first
    assert firsts(Pairs().shuffle(1, seed=0)) == firsts(Pairs().shuffle()) == list(range(6))
    orders = [firsts(Pairs().shuffle(2, seed=seed)) for seed in range(40)]
    assert {order[0] for order in orders} == {0, 1} and {order[1] for order in orders} == {0, 1, 2}
    assert len(data) == 6


def test_repeat():
    data = Pairs().repeat(2)
    assert firsts(data) == [*range(6)] * 2 == firsts(data) and len(data) == 12
    assert firsts(Pairs().repeat(0)) == []
    for count in (None, -1):
        data = Pairs().repeat(count)
        assert firsts(data.take(15)) == [*range(6), *range(6), *range(3)]
        with pytest.raises(TypeError, match="does not know"):
            len(data)


def test_single_samples_and_batches_of_them():
    samples = Pairs().take(2).map(lambda x, y: (x, np.repeat(y, 2))).unbatch()
    assert [(int(x), int(y)) for x, y in samples] == [(0, 0), (0, 0), (1, 10), (1, 10)]
    (x, y), (rest, _) = samples.batch(3)
    assert x.numpy().tolist() == [0, 0, 1] and y.numpy().tolist() == [0, 0, 10] and rest.tolist() == [1]
    batches, whole = Singles().batch(3), Singles().batch(3, drop_remainder=True)
    assert [b.numpy().tolist() for b in batches] == [[0, 1, 2], [3, 4, 5], [6]] and len(batches) == 3
    assert [b.tolist() for b in whole] == [[0, 1, 2], [3, 4, 5]] and len(whole) == 2


def test_what_stays():
    data = Pairs()
    assert data.prefetch(3) is data and int(data.cardinality().numpy()) == 6
    assert data.map(lambda x, y: (x, y)).class_names == ("a", "b")
    assert [number for number, _ in data.enumerate(4)] == list(range(4, 10))
    assert firsts(data.as_numpy_iterator()) == list(range(6))


def test_what_nobody_takes_any_more_is_not_made():
    made = []
    source = (made.append(k) or k for k in range(10_000))
    batches = prefetch(source, depth=2)
    assert [next(batches), next(batches)] == [0, 1]
    batches.close()
    count = len(made)
    assert count < 10
    with pytest.raises(StopIteration):
        next(source)  # closed with it
    assert len(made) == count
