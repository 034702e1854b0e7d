"""Automatic differentiation: what a function does with arrays is recorded, and the record is read backwards.

    x = Traced(np.array([1.0, 2.0]))
    y = np.sum(x**2 + np.exp(x))
    gradients(y, [x])               # [2 x + exp(x)]

The layers of minitl do not need it: their backward passes are derived by hand, and faster. It is for what a program brings
along: a loss or a Lambda that is a function of its own, and layers with a `call`.

NumPy asks an argument of another class what to do, for its ufuncs by `__array_ufunc__` and for its other functions by
`__array_function__`. A Traced array computes the same on the array that it holds, and remembers which arrays went in and how
dy becomes their gradients: for y = f(a, b), da = (dy/da)^T dL/dy and db = (dy/db)^T dL/dy. That is reverse mode. The gradients
of an array that was used several times add up.

Source: A. Baydin et al., Automatic differentiation in machine learning: a survey, arXiv 1502.05767, section 3.2; NumPy
Enhancement Proposals 13 and 18.

trace        traced arrays, and the way back through their record
derivatives  of NumPy's ufuncs
functions    its other functions
products     sums of products along named axes
"""

from minitl.autodiff.derivatives import DERIVATIVES, PLAIN
from minitl.autodiff.functions import FUNCTIONS
from minitl.autodiff.trace import Traced, gradients, plain

__all__ = ["DERIVATIVES", "FUNCTIONS", "PLAIN", "Traced", "gradients", "plain"]
