"""How far two runs of a model lie apart: by output, and by layer against the fp32 profile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexc.backends.executor.emit import Step

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


@dataclass(frozen=True)
class LayerDistance:
    """The distance of one ONNX node's result from that of the fp32 profile."""

    node_index: int
    node_name: str
    op_type: str
    distance: Distance


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
    """The outputs of the ONNX file on onnxruntime, fp32, one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


@dataclass(frozen=True)
class Layer:
    """The value an ONNX node ends with in a compiled program: the step that makes it."""

    node_index: int
    node_name: str
    op_type: str
    variable: str
    activation: str


def layers(steps: Iterable[Step]) -> dict[int, Layer]:
    """The last plain tensor that each ONNX node makes, by node index (quantized tensors are left out)."""
    found: dict[int, Layer] = {}
    for step in steps:
        if step.source is None or step.op_name == "bfp.quantize":
            continue
        index, node_name, op_type = step.source.node_index, step.source.node_name, step.source.op_type
        found[index.data] = Layer(index.data, node_name.data, op_type.data, step.variable, step.activation)
    return found
