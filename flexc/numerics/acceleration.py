"""Whether compiled kernels stand in for the NumPy ones; both give the same bytes.

numba (the extra ``fast``) is an option: without it, or with ``FLEXC_NO_NUMBA=1`` in the environment, NumPy
does everything. The modules of :mod:`flexc.numerics.compiled` import numba, which takes a while, so a caller
asks here first and imports the module it needs only then.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec

VARIABLE = "FLEXC_NO_NUMBA"


@cache
def use_compiled() -> bool:
    """Whether numba is there and not switched off; the answer is kept for the life of the process."""
    return os.environ.get(VARIABLE, "0") in ("", "0") and find_spec("numba") is not None
