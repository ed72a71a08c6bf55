"""flexc: a compiler toolchain for block-floating-point DNN accelerators.

Attributes load on first use, so that ``import flexc.numerics`` pulls in NumPy alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["CompileError", "Program", "__version__", "compile", "load"]

_LAZY = {
    "CompileError": "flexc.diagnostics",
    "Program": "flexc.program",
    "compile": "flexc.api",
    "load": "flexc.program",
}

if TYPE_CHECKING:
    from flexc.api import compile
    from flexc.diagnostics import CompileError
    from flexc.program import Program, load


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'flexc' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
