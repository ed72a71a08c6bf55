"""What labels are to a training step: classes or targets of the model's output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from flexc.datasets.arrays import DataSet, Examples
from flexc.diagnostics import CompileError, Place, error
from flexc.ir.shapes import Shape, TensorSpec
from flexc.passes.differentiation.loss import Loss
from flexc.passes.differentiation.signature import LABELS, TARGETS

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class LabelUse:
    """``classes``: of the output's last axis where labels are classes, otherwise None.

    ``rows``: labels of one example, such as the positions of a sequence.
    """

    classes: int | None
    rows: int = 1

    def inputs_of(self, examples: Examples) -> dict[str, Array]:
        """The inputs of a training step that labels can be: classes, and targets as fp32 or one-hot."""
        labels = examples.labels
        if labels is None:
            return {}
        if self.classes is None:
            return {TARGETS: labels}
        one_hot = np.equal.outer(labels, np.arange(self.classes))
        return {LABELS: labels, TARGETS: one_hot.astype(np.float32)}


def label_use(output: TensorSpec, data: DataSet, loss: Loss, place: Place) -> LabelUse:
    """How ``data`` labels a model's output [batch, ...].

    Cross entropy takes integers [N, ...] for an output [batch, ..., classes]; mean squared error takes fp32
    of the output's shape, or classes, which stand for one-hot vectors. Raises CompileError FX563 for others,
    and for a class that is none.
    """
    if loss is Loss.OUTPUT:
        return LabelUse(None)
    if data.train.labels is None:
        raise error(
            "FX563",
            f"'{data.name}' has no labels, which the loss {loss} needs",
            place=place,
            hint="name their array by --label, or train by the model's own loss with --loss output",
        )
    for examples in (data.train, data.test):
        assert examples.labels is not None
        _check(examples.labels, output, data, loss, place)
    if data.train.labels.dtype.kind == "f":
        return LabelUse(None)
    return LabelUse(output.shape[-1], int(np.prod(output.shape[1:-1])))


def _check(labels: Array, output: TensorSpec, data: DataSet, loss: Loss, place: Place) -> None:
    if labels.dtype.kind == "f":
        if loss is Loss.CROSS_ENTROPY:
            raise _unfit(f"the labels of '{data.name}' are fp32, and cross entropy takes classes", place)
        if labels.shape[1:] != output.shape[1:]:
            raise _shapes(labels.shape, output.shape[1:], data, output, place)
        return
    if output.rank < 2:
        raise _unfit(f"the output {output} has no classes", place)
    if labels.shape[1:] != output.shape[1:-1]:
        raise _shapes(labels.shape, output.shape[1:-1], data, output, place)
    least, largest = int(labels.min()), int(labels.max())
    if least < 0 or largest >= output.shape[-1]:
        raise _unfit(
            f"the labels of '{data.name}' go from {least} to {largest}, the classes of the output {output} "
            f"from 0 to {output.shape[-1] - 1}",
            place,
        )


def _shapes(found: Shape, wanted: Shape, data: DataSet, output: TensorSpec, place: Place) -> CompileError:
    return _unfit(
        f"the labels of '{data.name}' are [N{_rest(found[1:])}], those of the output {output} "
        f"[N{_rest(wanted)}]",
        place,
    )


def _rest(extents: Sequence[int]) -> str:
    return "".join(f", {extent}" for extent in extents)


def _unfit(message: str, place: Place) -> CompileError:
    return error("FX563", message, place=place, hint="see --loss and --label")
