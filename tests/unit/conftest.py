"""Kernels by NumPy and compiled: modules that use ``engine`` run once for each."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from flexc.numerics.acceleration import VARIABLE, use_compiled


@pytest.fixture(scope="module", params=["numpy", "compiled"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which kernels run; those compiled are skipped without numba."""
    if request.param == "compiled" and importlib.util.find_spec("numba") is None:
        pytest.skip("numba is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "1" if request.param == "numpy" else "0")
        use_compiled.cache_clear()
        yield request.param
    use_compiled.cache_clear()
