"""Settings for all tests."""

import os

# Before NumPy is there: threads of a BLAS spin, and on a machine with other work the book's tests would take ten times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.pop("PYTEST_ADDOPTS", None)  # read already, and not meant for tests that start another pytest
os.environ.setdefault("MINITL_QUIET", "1")  # what a test prints must not depend on what was compiled before it
os.environ.setdefault("KERAS_BACKEND", "torch")  # before Keras is there, where it is compared with

import pytest
from hypothesis import HealthCheck, settings

import minitl

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=40, suppress_health_check=list(HealthCheck))
settings.register_profile("explore", deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same seed and leaves the backend as it was."""
    before = minitl.get_backend()
    minitl.set_random_seed(0)
    yield
    minitl.set_backend(before)


@pytest.fixture(params=["numpy", "numba"])
def backend(request):
    """The test runs once in each backend."""
    with minitl.use_backend(request.param):
        yield request.param
