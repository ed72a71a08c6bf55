"""What a model takes and gives: names, dtypes and shapes, and the check of arrays against them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flexc.diagnostics import CompileError, Diagnostic, Place


@dataclass(frozen=True)
class IntegerValues:
    """The integers that an input may hold: ``least`` to ``largest``, and ``ignored``; ``what`` says why."""

    what: str
    least: int
    largest: int
    ignored: tuple[int, ...] = ()

    def include(self, given: npt.NDArray[Any]) -> bool:
        """Whether all elements of ``given`` are among them."""
        inside = (given >= self.least) & (given <= self.largest)
        return bool((inside | np.isin(given, self.ignored)).all())


@dataclass(frozen=True)
class TensorSpec:
    """Name, NumPy dtype and shape of an input or output; of integers, what each use of them takes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    values: tuple[IntegerValues, ...] = ()

    def __str__(self) -> str:
        return f"'{self.name}' {self.dtype} {list(self.shape)}"


def check_inputs(specs: Iterable[TensorSpec], inputs: Mapping[str, npt.NDArray[Any]], file: str = "") -> None:
    """Raises one CompileError with every mistake.

    FX501 missing, FX502 unknown, FX503 dtype, FX504 shape,
    FX507 integers that are no class of a loss, or no entry of a table.
    """
    specs = tuple(specs)
    place = Place(file)
    wanted = "the model takes " + (", ".join(map(str, specs)) or "no inputs")
    found = [
        Diagnostic("FX502", f"the model has no input '{name}'", place, hint=wanted)
        for name in inputs
        if name not in {spec.name for spec in specs}
    ]
    for spec in specs:
        if spec.name not in inputs:
            found.append(Diagnostic("FX501", f"input '{spec.name}' is missing", place, hint=wanted))
            continue
        array = inputs[spec.name]
        if str(array.dtype) != spec.dtype:
            message = f"input '{spec.name}' is {array.dtype}, not {spec.dtype}"
            hint = f"convert it: array.astype('{spec.dtype}')"
            found.append(Diagnostic("FX503", message, place, hint=hint))
        if array.shape != spec.shape:
            message = f"input '{spec.name}' has the shape {list(array.shape)}, not {list(spec.shape)}"
            hint = "the shape was fixed when the model was compiled: --input-shape, --batch"
            found.append(Diagnostic("FX504", message, place, hint=hint))
        if array.dtype.kind == "i":
            found += [
                Diagnostic(
                    "FX507",
                    f"input '{spec.name}' goes from {array.min()} to {array.max()}; {one.what}",
                    place,
                )
                for one in spec.values
                if not one.include(array)
            ]
    if found:
        raise CompileError(found)
