"""What a check found: a table of tensors, findings about the target's conduct, and a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from minitl.progress import preformatted


@dataclass
class Comparison:
    """The numbers behind one row of the table, coordinate by coordinate, for diagnosis and for plots.

    Shapes: `picked` are flat positions (P,); analytic, numeric, doubt and trusted are (P,); `shape` is the tensor's.
    """

    shape: tuple[int, ...]
    picked: np.ndarray
    analytic: np.ndarray
    numeric: np.ndarray
    doubt: np.ndarray
    trusted: np.ndarray


@dataclass
class TensorReport:
    """What was found for one input or parameter.

    `worst` is the largest relative error and `index` where it stands; `uncertainty` is how far the numerical gradient itself
    may be off, on the same scale. A large tensor's other coordinates are covered by `directions` random directions.
    """

    name: str
    checked: int
    skipped: int
    worst: float
    index: tuple[int, ...]
    analytic: float
    numeric: float
    verdict: str
    uncertainty: float = 0.0
    directions: int = 0
    comparison: Comparison | None = None

    @property
    def ok(self) -> bool:
        """Whether the gradient is right."""
        return self.verdict == "right"


@dataclass
class Finding:
    """Something about the target beside its gradients; `failure` says whether it is a mistake or only worth knowing."""

    text: str
    failure: bool = True


@dataclass
class Diagnosis:
    """What kind of mistake it looks like: `kind` is a short fixed name, `text` says it with the numbers."""

    tensor: str
    kind: str
    text: str


@dataclass
class Report:
    """One row a tensor, findings, and a diagnosis of what is wrong; prints as a table."""

    target: str
    tensors: list[TensorReport]
    findings: list[Finding] = field(default_factory=list)
    diagnoses: list[Diagnosis] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all gradients are right, and nothing else was found to be wrong."""
        checked = bool(self.tensors) and all(tensor.ok for tensor in self.tensors)
        return checked and not any(finding.failure for finding in self.findings)

    def __bool__(self) -> bool:
        # So that `assert check_gradients(...)` says what it seems to say.
        return self.ok

    def raise_if_wrong(self) -> None:
        """Raise AssertionError with the table, unless the target is right.

        Errors: AssertionError.
        """
        if not self.ok:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        lines = [f"{self.target}: {'right' if self.ok else 'WRONG'}"]
        if self.tensors:
            width = max(20, *(len(tensor.name) for tensor in self.tensors))
            lines.append(f"  {'tensor':<{width}}{'checked':>9}{'skipped':>9}{'worst error':>13}{'uncertainty':>13}")
        for t in self.tensors:
            lines.append(
                f"  {t.name:<{width}}{t.checked:>9}{t.skipped:>9}{t.worst:>13.1e}{t.uncertainty:>13.1e}  {t.verdict}\n"
                f"    worst at {list(t.index)}: analytic {t.analytic:+.5e}, numeric {t.numeric:+.5e}"
            )
        for finding in self.findings:
            lines.append(f"  {'WRONG' if finding.failure else 'note'}: {finding.text}")
        for diagnosis in self.diagnoses:
            lines.append(f"  {diagnosis.tensor} looks like this mistake: {diagnosis.text}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return preformatted(str(self))
