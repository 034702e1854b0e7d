"""A few hundred of the damaged files that `tests/fuzz.py` makes by the ten thousands."""

import warnings

import numpy as np
import pytest
from fuzz import READERS, damaged, fuzz, originals

import minitl


@pytest.mark.parametrize("kind", READERS)
def test_damaged_files_are_refused_or_read(kind, tmp_path):
    pytest.importorskip("h5py" if "h5" in kind or kind == "keras" else "onnx" if kind == "onnx" else "numpy")
    with np.errstate(all="ignore"), minitl.use_backend("numpy"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts, broken = fuzz(kind, 300, 0, tmp_path)
    assert not broken, "\n".join(broken)
    assert counts["refused"] > 60 and counts["refused"] + counts["read"] == 300


def test_what_breaks_a_rule_is_reported(tmp_path, monkeypatch):
    monkeypatch.setitem(READERS, "weights", lambda path: path.name.startswith("bad") and {}["a KeyError is no clear error"])
    counts, broken = fuzz("weights", 3, 0, tmp_path)
    assert counts["broken"] == len(broken) == 3 and "KeyError" in broken[0]


def test_damage_reaches_behind_the_checksums(tmp_path):
    (path,) = originals("weights", tmp_path)
    changed = [damaged(path.read_bytes(), np.random.default_rng(seed)) for seed in range(200)]
    outcomes = set()
    for body in changed:
        path.write_bytes(body)
        try:
            minitl.weights.read(path)
            outcomes.add("read")
        except ValueError as error:
            outcomes.add(str(error).replace(str(path), "")[:16])
    assert len(outcomes) > 6  # many different things are found, not one checksum
