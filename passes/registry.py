"""The passes by name. One is imported when asked for: ``fuse-lightnorm`` from ``fuse_lightnorm.py``."""

from __future__ import annotations

import difflib
import importlib

from flexc.diagnostics import error
from flexc.passes.base import Pass

PASS_NAMES: tuple[str, ...] = (
    "allocate",
    "canonicalize",
    "cse",
    "differentiate",
    "expand-batch-norm",
    "expand-dropout",
    "fold-quantized-weights",
    "fuse-lightnorm",
    "insert-quantize",
    "map-contractions",
    "rebuild-normalization",
    "schedule",
)


def pass_class(name: str) -> type[Pass]:
    """The class of the pass ``name``; CompileError FX301 where there is none."""
    if name not in PASS_NAMES:
        near = difflib.get_close_matches(name, PASS_NAMES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"the passes are {', '.join(PASS_NAMES)}"
        raise error("FX301", f"there is no pass '{name}'", hint=hint)
    module = importlib.import_module(f"flexc.passes.{name.replace('-', '_')}")
    for member in vars(module).values():
        if isinstance(member, type) and issubclass(member, Pass) and getattr(member, "name", None) == name:
            return member
    raise LookupError(f"{module.__name__} defines no pass named '{name}'")
