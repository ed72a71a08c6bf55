"""How far two runs of a model lie apart, by output: onnxruntime is the usual reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexc.diagnostics import Place, error

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Distance:
    """The distance of a tensor from its reference; both ratios are None where they are undefined.

    ``max_error`` is the largest absolute difference; ``sqnr_db`` is 10 log10 of the reference's energy over
    the difference's (infinite for equal tensors); ``cosine`` is that of the angle between the two.
    """

    name: str
    shape: tuple[int, ...]
    max_error: float
    sqnr_db: float | None
    cosine: float | None


def distance(name: str, reference: Array, value: Array) -> Distance:
    """How far ``value`` is from ``reference``, in fp64; ValueError when their shapes differ."""
    if reference.shape != value.shape:
        raise ValueError(f"'{name}': {value.shape} cannot be compared with {reference.shape}")
    r, v = reference.astype(np.float64).ravel(), value.astype(np.float64).ravel()
    difference = v - r
    signal, noise = float(r @ r), float(difference @ difference)
    lengths = float(np.sqrt(signal)) * float(np.sqrt(v @ v))
    if noise == 0.0:
        sqnr_db: float | None = float("inf")
    else:
        sqnr_db = 10.0 * float(np.log10(signal / noise)) if signal else None
    cosine = float(r @ v) / lengths if lengths else None
    max_error = float(np.abs(difference).max()) if difference.size else 0.0
    return Distance(name, reference.shape, max_error, sqnr_db, cosine)


def compare_outputs(reference: Mapping[str, Array], outputs: Mapping[str, Array]) -> list[Distance]:
    """The distance of each output from the reference's of the same name."""
    return [distance(name, reference[name], value) for name, value in outputs.items()]


def run_onnxruntime(model: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of an ONNX file on onnxruntime, on one thread; double inputs are widened for it.

    Raises CompileError FX520 where onnxruntime does not take the model or the inputs.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    refusals = (failures.Fail, failures.InvalidArgument, failures.InvalidGraph, failures.NotImplemented)
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        wide = {entry.name for entry in session.get_inputs() if entry.type == "tensor(double)"}
        feed = {name: array.astype(np.float64) if name in wide else array for name, array in inputs.items()}
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, feed), strict=True))
    except refusals as refusal:
        message = f"onnxruntime refuses the model: {refusal}"
        raise error("FX520", message, place=Place(str(model))) from refusal
