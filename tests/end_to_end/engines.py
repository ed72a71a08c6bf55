"""Both engines of a program on one input, and what has to be true of their results."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexc.analysis.compare import run_onnxruntime
from flexc.backends.stream.isa import MANTISSA_FORMATS
from flexc.program import EngineRun, Program

Array = npt.NDArray[Any]

POLICIES: Mapping[str, frozenset[int]] = {
    "FB12": frozenset({4, 16}),
    "FB16": frozenset({8}),
    "FB24": frozenset({16}),
    "FB16A-FB12W": frozenset({4, 8, 16}),
}
"""The precisions, and the mantissa bits in each: with 4-bit weights the first and last layers have 16."""
FP32_TOLERANCE = 1e-4
"""Largest difference from onnxruntime, as a share of an output's largest magnitude."""
FP32_ENGINE_TOLERANCE = 1e-5
"""Largest difference of the engines' outputs in the fp32 profile, likewise.

Intermediates may be ``FP32_TOLERANCE`` apart: an activation that clips at 6 has hidden the magnitude of what
was rounded before it.
"""


def require_equal_bytes(program: Program, inputs: Mapping[str, Array], mantissa_bits: Set[int]) -> EngineRun:
    """Runs both engines; outputs, and all intermediates that reach DRAM, have to be equal in bytes.

    ``mantissa_bits`` are those that tensors in DRAM have to have.

    They are compared here, and not by the program itself, which has a comparison of its own.
    """
    executor = program.run_engine(inputs, "executor", tensors=True)
    stream = program.run_engine(inputs, "stream", tensors=True)
    assert set(stream.outputs) == set(executor.outputs) == {spec.name for spec in program.outputs}
    intermediates, found_bits = _in_dram(program)
    assert intermediates
    assert intermediates <= set(executor.tensors)
    assert intermediates <= set(stream.tensors)
    assert found_bits == mantissa_bits
    for name, array in executor.tensors.items():
        if name in intermediates:
            _require_same(name, array, stream.tensors[name])
    for name, array in executor.outputs.items():
        _require_same(name, array, stream.outputs[name])
        assert np.isfinite(array).all()
        assert np.unique(array).size > 1, f"'{name}' is all one value, which shows nothing"
    return executor


def require_close_engines(program: Program, inputs: Mapping[str, Array]) -> None:
    """The engines of the fp32 profile, which fixes no order of its products, on outputs and intermediates."""
    executor = program.run_engine(inputs, "executor", tensors=True)
    stream = program.run_engine(inputs, "stream", tensors=True)
    intermediates, mantissa_bits = _in_dram(program)
    assert intermediates
    assert intermediates <= set(executor.tensors) & set(stream.tensors)
    assert not mantissa_bits
    for name in intermediates:
        _require_close(name, executor.tensors[name], stream.tensors[name], FP32_TOLERANCE)
    assert set(executor.outputs) == set(stream.outputs)
    for name, array in executor.outputs.items():
        _require_close(name, array, stream.outputs[name], FP32_ENGINE_TOLERANCE)


def require_onnxruntime_outputs(path: Path, program: Program, inputs: Mapping[str, Array]) -> None:
    """The executor of the fp32 profile against onnxruntime."""
    outputs = program.run(inputs)
    reference = run_onnxruntime(path, inputs)
    assert list(outputs) == list(reference)
    for name, expected in reference.items():
        assert np.abs(expected).max() > 0
        _require_close(name, expected, outputs[name], FP32_TOLERANCE)


def _in_dram(program: Program) -> tuple[set[str], set[int]]:
    """The arrays of all intermediates that the stream stores, and the mantissa bits of its tensors there."""
    names: set[str] = set()
    mantissa_bits: set[int] = set()
    bits_of_format = {plane: bits for bits, plane in MANTISSA_FORMATS.items()}
    for symbol in program.stream.symbols:
        mantissa_bits |= {
            bits_of_format[plane.format] for plane in symbol.planes if plane.format in bits_of_format
        }
        if symbol.kind != "intermediate":
            continue
        planes = ("",) if len(symbol.planes) == 1 else (".mantissa", ".exponent")
        names |= {symbol.name + plane for plane in planes}
    return names, mantissa_bits


def _require_same(name: str, executor: Array, stream: Array) -> None:
    assert (executor.shape, executor.dtype) == (stream.shape, stream.dtype), name
    if np.ascontiguousarray(executor).tobytes() != np.ascontiguousarray(stream).tobytes():
        differ = np.argwhere(executor != stream)
        raise AssertionError(
            f"'{name}' differs in {len(differ)} of {executor.size} values, first at {differ[:3].tolist()}"
        )


def _require_close(name: str, expected: Array, found: Array, tolerance: float) -> None:
    assert (expected.shape, expected.dtype) == (found.shape, found.dtype), name
    limit = tolerance * float(np.abs(expected).max(initial=0))
    apart = float(np.abs(found.astype(np.float64) - expected).max(initial=0))
    assert apart <= limit, f"'{name}' is {apart:.3e} apart, where {limit:.3e} is allowed"
