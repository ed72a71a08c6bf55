"""Names of the values of a function: those of its printed IR, as identifiers.

The dump, the emitted NumPy program and the symbols of the instruction stream call a value by one name.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator

from xdsl.dialects.func import FuncOp
from xdsl.ir import SSAValue

from flexc import numerics

PROGRAM_NAMES = frozenset(
    {"Any", "Callable", "Mapping", "Path", "argparse", "float", "functools", "inputs", "keep", "load_file"}
    | {"load_weights", "main", "np", "run", "w", "weights"}
)
"""Names that the emitted program uses for itself (its kernels are those of flexc.numerics)."""


def value_names(function: FuncOp) -> dict[SSAValue, str]:
    """A unique ASCII identifier for each argument and result, in order of definition.

    The printer's rule: the n-th value of a hint is ``hint_n``, the first just ``hint``; values without one
    are counted from 0, and get a ``v`` in front here. Characters that no identifier holds become ``_``, and
    a name that means something else in a program (a keyword, a kernel) gets ``_0`` behind.
    """
    reserved = PROGRAM_NAMES.union(keyword.kwlist, numerics.__all__)
    names: dict[SSAValue, str] = {}
    taken: set[str] = set()
    seen: dict[str, int] = {}
    unnamed = 0
    for value in _values(function):
        if value.name_hint is None:
            name = f"v{unnamed}"
            unnamed += 1
        else:
            count = seen.get(value.name_hint, 0)
            seen[value.name_hint] = count + 1
            name = _identifier(value.name_hint) + (f"_{count}" if count else "")
        if name in reserved:
            name += "_0"
        while name in taken:
            name += "_"
        taken.add(name)
        names[value] = name
    return names


def _values(function: FuncOp) -> Iterator[SSAValue]:
    yield from function.body.block.args
    for op in function.body.block.ops:
        yield from op.results


def _identifier(hint: str) -> str:
    text = re.sub(r"[^0-9A-Za-z_]", "_", hint)
    return f"_{text}" if text[0].isdigit() else text
