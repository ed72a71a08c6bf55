"""Run vector files of the numerics specification (section 7) and compare every byte.

A vector file is an ``.npz``: a string ``spec`` of JSON with the operation and its attributes, input arrays
and arrays named ``expect_*``; ``expect_error`` among the attributes instead, where an error is right.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.conformance_ops import FAST, OPERATIONS, Kernels, Operation

SPECIFICATION_VERSION = 1
_ZSE_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Outcome:
    """What became of one vector file; ``failure`` is empty where it matched."""

    file: str
    op: str
    failure: str = ""

    @property
    def matched(self) -> bool:
        """Whether every expected byte was produced, or the expected error was raised."""
        return not self.failure


class VectorError(Exception):
    """A vector file that cannot be run: not of this specification, or not well formed."""


def run_folder(path: Path | str, *, kernels: Kernels = FAST) -> list[Outcome]:
    """Run every ``.npz`` of a folder, in the order of their names.

    Raises NotADirectoryError where ``path`` is no folder.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder of vectors")
    return [run_file(file, kernels=kernels) for file in sorted(folder.glob("*.npz"))]


def run_file(path: Path, *, kernels: Kernels = FAST) -> Outcome:
    """Run one vector file; what is wrong with the file itself is a failure too."""
    op = "?"
    try:
        spec, arrays = _read(path)
        op = str(spec.get("op"))
        return Outcome(path.name, op, _run(spec, arrays, kernels))
    except VectorError as error:
        return Outcome(path.name, op, str(error))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        spec = json.loads(str(arrays.pop("spec")))
    except KeyError:
        raise VectorError("no array named 'spec'") from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise VectorError(f"not a vector file: {error}") from error
    if not isinstance(spec, dict):
        raise VectorError("spec is not a JSON object")
    return spec, arrays


def _run(spec: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], kernels: Kernels) -> str:
    """The failure of a well-formed vector, empty where it matched."""
    if spec.get("spec") != SPECIFICATION_VERSION:
        raise VectorError(f"specification {spec.get('spec')!r}, not {SPECIFICATION_VERSION}")
    operation = OPERATIONS.get(spec.get("op", ""))
    if operation is None:
        raise VectorError(f"unknown op {spec.get('op')!r}")
    attributes = {name: value for name, value in spec.items() if name not in ("spec", "op", "expect_error")}
    inputs = {name: array for name, array in arrays.items() if not name.startswith("expect_")}
    expected = {name: array for name, array in arrays.items() if name.startswith("expect_")}
    _require_signature(operation, attributes, inputs)
    word = spec.get("expect_error")
    if word is not None and (expected or not isinstance(word, str) or not word):
        raise VectorError(f"expect_error {word!r} beside {sorted(expected)}")
    if word is None and not expected:
        raise VectorError("nothing is expected")
    try:
        results = operation.run(kernels, attributes, inputs)
    except (ValueError, TypeError, ArithmeticError) as error:
        if word is not None and word in str(error):
            return ""
        wanted = "no error" if word is None else f"an error with the word {word!r}"
        return f"raised {type(error).__name__}: {error}; {wanted} was expected"
    if word is not None:
        return f"no error; one with the word {word!r} was expected"
    unknown = sorted(set(expected) - {f"expect_{name}" for name in results})
    if unknown:
        raise VectorError(f"op {spec['op']!r} has no {', '.join(unknown)}")
    failures = (
        _difference(name, array, results[name.removeprefix("expect_")]) for name, array in expected.items()
    )
    return "; ".join(failure for failure in failures if failure)


def _require_signature(
    operation: Operation, attributes: Mapping[str, Any], inputs: Mapping[str, NDArray[Any]]
) -> None:
    for kind, given, wanted in (
        ("attribute", set(attributes), operation.attributes),
        ("array", set(inputs), operation.inputs),
    ):
        if given - wanted:
            raise VectorError(f"unknown {kind} {', '.join(sorted(given - wanted))}")
        if wanted - given:
            raise VectorError(f"missing {kind} {', '.join(sorted(wanted - given))}")


def _difference(name: str, expected: NDArray[Any], found: NDArray[Any]) -> str:
    """How ``found`` differs from ``expected``, empty where no byte does."""
    if name == "expect_zse":
        difference = abs(float(found) - float(expected))
        return "" if difference <= _ZSE_TOLERANCE else f"{name}: {float(found)!r}, not {float(expected)!r}"
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return f"{name}: {found.dtype}{list(found.shape)}, not {expected.dtype}{list(expected.shape)}"
    found_bytes, expected_bytes = _element_bytes(found), _element_bytes(expected)
    differs = np.flatnonzero((found_bytes != expected_bytes).any(axis=1))
    if not differs.size:
        return ""
    first = int(differs[0])
    index = [int(i) for i in np.unravel_index(first, expected.shape)]
    return (
        f"{name}: {differs.size} of {expected.size} elements differ, the first at {index}: "
        f"{_bit_pattern(found, first)}, not {_bit_pattern(expected, first)}"
    )


def _element_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """A row of bytes for each element, in row-major order."""
    flat: NDArray[np.uint8] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return flat.reshape(array.size, array.dtype.itemsize)


def _bit_pattern(array: NDArray[Any], flat_index: int) -> str:
    element = array.reshape(-1)[flat_index]
    word = int.from_bytes(element.tobytes(), "little")
    return f"0x{word:0{2 * array.dtype.itemsize}x} ({element})"
