"""What `tests/mutate.py` leaves out as equivalent: changes of lines that stand, which give the same numbers."""

import ast

import numpy as np
import pytest
from equivalent import EQUIVALENT
from mutate import ROOT, changes_of, chosen_changes, is_equivalent

VALUES = np.array([-np.inf, -4, -3, -1, -1e-7, 0, 1e-7, 0.5, 1, 3, 4, np.inf])
SETTINGS = {"elu": (), "softplus": (), "hard_sigmoid": (), "prelu": (np.full(12, 0.3),)}
MODULES = sorted({module for module, *_ in EQUIVALENT})


@pytest.mark.parametrize("module", MODULES)
def test_what_is_left_out_is_a_change_of_a_line_that_stands(module):
    planted, kept = ({change[:4] for change in changes} for changes in (changes_of(module), chosen_changes(module, None, 0)))
    left_out = {(what, text) for _, _, what, text in planted - kept}
    assert left_out == {(what, text) for of, what, text in EQUIVALENT if of == module}


@pytest.mark.parametrize("name", SETTINGS)
def test_an_activation_is_the_same_with_it(name):
    module = f"minitl/ops/{name}.py"
    left_out = [change for change in changes_of(module) if is_equivalent(change)]
    assert left_out
    for change in left_out:
        outputs = []
        for source in (ast.unparse(change.changed()), (ROOT / module).read_text()):
            made = {"__name__": name}
            exec(source, made)
            outputs.append(made["forward"](VALUES[None], *SETTINGS[name])[0])
        np.testing.assert_array_equal(*outputs)
