"""The demonstration: a trained text-direction classifier in every precision, on both back ends.

Three questions about each precision: does the simulated instruction stream give the bytes of the executor,
how often is the answer right (and onnxruntime's), and how many cycles does a line of text take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flexc.analysis.compare import run_onnxruntime
from flexc.api import Program, compile
from flexc.datasets.text_direction import LabelledImages
from flexc.diagnostics import Place, error

MODEL_NAME = "ch_ppocr_mobile_v2.0_cls_mobile.onnx"
INPUT = "x"
DIRECTIONS = 2


@dataclass(frozen=True)
class Precision:
    """One row of the demonstration: what to compile with."""

    label: str
    profile: str = "flexblock"
    policy: str = "FB16"
    batchnorm: str = "lightnorm"


PRECISIONS = (
    Precision("fp32", profile="fp32"),
    Precision("FB24, fp32 batch norm", policy="FB24", batchnorm="fp32"),
    Precision("FB24", policy="FB24"),
    Precision("FB16", policy="FB16"),
    Precision("FB12", policy="FB12"),
)


@dataclass(frozen=True)
class Row:
    """Measured for one precision.

    ``same_as_onnxruntime`` is the share of equal labels; ``tensors_equal`` the number of tensors in DRAM and
    outputs that both back ends computed with equal bytes on the first batch (fp32: some of them within the
    bound that the unordered sums allow); ``cycles_per_line`` comes from the event simulation of one batch.
    """

    label: str
    accuracy: float
    same_as_onnxruntime: float
    tensors_equal: int
    bytes_equal: bool
    cycles_per_line: float
    microseconds_per_line: float


@dataclass(frozen=True)
class Demonstration:
    """All rows, and onnxruntime's accuracy beside them."""

    lines: int
    onnxruntime_accuracy: float
    target: str
    rows: tuple[Row, ...]


def find_model(path: Path | None) -> Path:
    """``path``, or the classifier in a checkout's models folder; CompileError FX550 where there is none."""
    if path is not None:
        if not path.is_file():
            raise error("FX550", "the classifier is not there", place=Place(str(path)))
        return path
    found = Path(__file__).resolve().parents[2] / "models" / MODEL_NAME
    if not found.is_file():
        raise error(
            "FX550",
            f"{MODEL_NAME} is not beside this installation",
            hint="run from a checkout of the project, or name the file with --model",
        )
    return found


def demonstrate(
    model: Path,
    data: LabelledImages,
    *,
    batch: int,
    target: str,
    output: Path,
    progress: Callable[[str], None],
) -> Demonstration:
    """Compiles ``model`` for each of ``PRECISIONS`` into a folder of ``output``, and measures.

    ``data`` holds a multiple of ``batch`` images. ``progress`` is told what is being done.
    Raises CompileError for a model that does not compile, and FX553 for one that is no classifier of such
    images.
    """
    output.mkdir(parents=True, exist_ok=True)
    shape = (batch, *data.images.shape[1:])
    programs = []
    for precision in PRECISIONS:
        progress(f"{precision.label}: compiling")
        program = compile(
            model,
            output=output / precision.label.replace(", ", "-").replace(" ", "-"),
            input_shapes={INPUT: shape},
            policy=precision.policy,
            profile=precision.profile,
            batchnorm=precision.batchnorm,
            target=target,
        )
        _check_classifier(program, shape)
        programs.append(program)
    progress("onnxruntime")
    (scores,) = run_onnxruntime(model, {INPUT: data.images}).values()
    expected = scores.argmax(axis=1)
    rows = tuple(
        _measure(precision, program, data, expected, batch, progress)
        for precision, program in zip(PRECISIONS, programs, strict=True)
    )
    return Demonstration(len(data.labels), float((expected == data.labels).mean()), target, rows)


def _check_classifier(program: Program, shape: tuple[int, ...]) -> None:
    takes = [(spec.name, spec.shape) for spec in program.inputs]
    gives = [spec.shape for spec in program.outputs]
    scores = (shape[0], DIRECTIONS)
    if takes != [(INPUT, shape)] or gives != [scores]:
        inputs, outputs = (", ".join(map(str, specs)) for specs in (program.inputs, program.outputs))
        raise error(
            "FX553",
            f"no classifier of text lines, which takes {INPUT} {list(shape)} and gives scores {list(scores)}",
            place=Place(program.source.path),
            detail=f"takes {inputs}, gives {outputs}",
        )


def _measure(
    precision: Precision,
    program: Program,
    data: LabelledImages,
    expected: npt.NDArray[np.int64],
    batch: int,
    progress: Callable[[str], None],
) -> Row:
    progress(f"{precision.label}: executor and stream on the first {batch} lines")
    both = program.run_engine({INPUT: data.images[:batch]}, "both")
    assert both.agreement is not None
    labels = []
    for start in range(0, len(data.labels), batch):
        progress(f"{precision.label}: executor, line {start} of {len(data.labels)}")
        (scores,) = program.run({INPUT: data.images[start : start + batch]}).values()
        labels.append(scores.argmax(axis=1))
    found = np.concatenate(labels)
    schedule = program.schedule
    return Row(
        label=precision.label,
        accuracy=float((found == data.labels).mean()),
        same_as_onnxruntime=float((found == expected).mean()),
        tensors_equal=0 if both.agreement.difference is not None else both.agreement.total,
        bytes_equal=both.agreement.exact and both.agreement.difference is None,
        cycles_per_line=schedule.cycles / batch,
        microseconds_per_line=1e3 * schedule.milliseconds / batch,
    )
