"""Changes of `tests/mutate.py` that cannot be noticed, since no result differs but in the sign of a zero, each with
its reason.

They are named by module, change and line: an entry holds for all such changes in its line, and no longer when the line is edited
(`tests/test_mutation.py` fails then). What is merely unlikely to be noticed is not here.
"""

AT_ZERO = "at 0 both branches are 0"
AT_THE_CUT = "where it is cut off, both branches have the same value"
SPEED = "decides how fast the same numbers are found: by which of two ways, or with what fetched ahead"

EQUIVALENT = {
    (module, change, line): reason
    for module, change, line, reason in (
        (
            "minitl/ops/elu.py", "Gt -> GtE",
            "y = (scale * np.where(x.real > 0, x, alpha * np.expm1(np.where(x.real > 0, 0, x)))).astype(x.dtype, copy=False)",
            AT_ZERO,
        ),
        (
            "minitl/ops/binary_cross_entropy.py", "Gt -> GtE",
            "losses = np.where(y_pred.real > 0, y_pred, 0) - y_true * y_pred + np.log1p(np.exp(-size))",
            AT_ZERO,
        ),
        ("minitl/ops/softplus.py", "Gt -> GtE", "return np.where(x.real > 0, x, 0) + np.log1p(np.exp(-size)), x", AT_ZERO),
        ("minitl/ops/prelu.py", "Gt -> GtE", "return np.where(x.real > 0, x, alpha * x), (x, alpha)", AT_ZERO),
        ("minitl/ops/simple_rnn.py", "Gt -> GtE", "new = np.where(a > 0, a, 0) if rectified else np.tanh(a)", AT_ZERO),
        (
            "minitl/ops/hard_sigmoid.py", "LtE -> Lt",
            "y = np.where(x.real <= -3, 0, np.where(x.real >= 3, 1, x / 6 + 0.5))",
            AT_THE_CUT,
        ),
        (
            "minitl/ops/hard_sigmoid.py", "GtE -> Gt",
            "y = np.where(x.real <= -3, 0, np.where(x.real >= 3, 1, x / 6 + 0.5))",
            AT_THE_CUT,
        ),
        (
            "minitl/ops/binary_cross_entropy.py", "LtE -> Lt",
            "yes = np.where(y_pred.real <= EPSILON, EPSILON, y_pred)",
            AT_THE_CUT,
        ),
        (
            "minitl/ops/sparse_categorical_cross_entropy.py", "USub dropped",
            "log_sum = np.log(np.exp(rows - shift).sum(axis=-1)) + shift[:, 0]",
            "rows have two axes, so the last is axis 1",
        ),
        (
            "minitl/optimizers/base.py", "Gt -> GtE", "if norm > self.global_clipnorm:",
            "of a norm that is the limit, the factor is 1",
        ),
        (
            "minitl/kernels/elementwise.py", "0 -> 1", "count = arrays[0].size",
            "the arrays have one length, and there are always two",
        ),
        (
            "minitl/kernels/row_sums.py", "1 -> 2",
            "launch(_add_rows, -(-total.size // max(1, per_task)), Columns(len(rows), total.size, per_task), rows, total)",
            "what is shared has whole cache lines per task, and what is not is one task: of none, one or more numbers",
        ),
        (
            "minitl/kernels/simd/finishing.py", "8 -> 9", 'name = f"minitl_finished_f{8 * size}"',
            "a name in the compiled module, which only has to differ between the two sizes",
        ),
        (
            "minitl/kernels/winograd/tasks.py", "Mult -> Div",
            "fetch_share(skip, task * s.block_y, s.block_y * s.skips, plane, s.planes)", SPEED,
        ),
        ("minitl/kernels/simd/transposing.py", "LtE -> Lt", "if i + size <= rows and j + size <= columns:", SPEED),
    )
}  # fmt: skip
