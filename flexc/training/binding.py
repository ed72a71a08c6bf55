"""Which array of a data set each input of a model takes, and what labels stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from flexc.datasets.arrays import DataSet, Examples
from flexc.diagnostics import CompileError, Place, error
from flexc.importer.graph_inputs import GraphInput, declared_inputs
from flexc.importer.model_file import read_model
from flexc.importer.problems import Problems
from flexc.ir.shapes import Element, Shape
from flexc.passes.differentiation.loss import Loss

Array: TypeAlias = npt.NDArray[Any]
DTYPES: Mapping[Element, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "i64": np.dtype(np.int64),
    "i32": np.dtype(np.int32),
}


@dataclass(frozen=True)
class Binding:
    """The array that each input takes, by the input's name; ``labelled`` is the input that takes the labels.

    ``dtypes`` are those of the inputs.
    """

    arrays: Mapping[str, str]
    dtypes: Mapping[str, np.dtype[Any]]
    labelled: str | None = None

    def inputs_of(self, examples: Examples) -> dict[str, Array]:
        """The inputs of the model for a batch of examples."""
        names = [*self.arrays, *([] if self.labelled is None else [self.labelled])]
        return {name: self.array(examples, name).astype(self.dtypes[name], copy=False) for name in names}

    def array(self, examples: Examples, name: str) -> Array:
        """What the input ``name`` takes, as the examples have it."""
        if name != self.labelled:
            return examples.inputs[self.arrays[name]]
        assert examples.labels is not None
        return examples.labels

    def array_name(self, name: str, data: DataSet) -> str:
        """The name in ``data`` of what the input ``name`` takes."""
        return data.label if name == self.labelled else self.arrays[name]

    def shapes(self, data: DataSet) -> dict[str, Shape]:
        """The shape of one example of each input."""
        return {name: array.shape[1:] for name, array in self.inputs_of(data.train).items()}


def bind(path: Path, data: DataSet, loss: Loss, rows: int) -> Binding:
    """What the model in the file ``path`` takes of ``data``, ``rows`` examples at a time.

    An input takes the array of its name. Where the loss is the model's own, the labels are an input: that of
    their name, or the only one of integers that is left. One input and one array left belong together.
    Raises CompileError FX563 where inputs or arrays are left, or elements or shapes are not the input's.
    """
    problems = Problems()
    declared = declared_inputs(read_model(path).graph, Place(str(path)), problems)
    problems.raise_any()
    matching = _Matching(path, data, {one.name: one for one in declared})
    matching.by_name()
    if loss is Loss.OUTPUT:
        matching.labels()
    matching.last()
    return matching.binding(rows)


@dataclass
class _Matching:
    path: Path
    data: DataSet
    inputs: Mapping[str, GraphInput]
    arrays: dict[str, str] = field(default_factory=dict)
    labelled: str | None = None

    def by_name(self) -> None:
        self.arrays.update({name: name for name in self.data.train.inputs if name in self.inputs})

    def labels(self) -> None:
        if self.data.train.labels is None:
            return
        integers = [name for name in self._free_inputs() if self.inputs[name].element != "f32"]
        if self.data.label in self._free_inputs():
            self.labelled = self.data.label
        elif len(integers) == 1 and self.data.train.labels.dtype.kind == "i":
            self.labelled = integers[0]

    def last(self) -> None:
        inputs, arrays = self._free_inputs(), self._free_arrays()
        if len(inputs) == len(arrays) == 1:
            self.arrays[inputs[0]] = arrays[0]

    def binding(self, rows: int) -> Binding:
        inputs, arrays = self._free_inputs(), self._free_arrays()
        if inputs:
            raise self._unfit(f"no array is for the model's input {_quoted(inputs)}")
        if arrays:
            raise self._unfit(f"the model has no input for the array {_quoted(arrays)}")
        for name in self.inputs:
            self._require_shape(name, rows)
        dtypes = {name: self._dtype(name) for name in self.inputs}
        return Binding(self.arrays, dtypes, self.labelled)

    def _array(self, name: str) -> Array:
        """The array that an input takes."""
        labels = self.data.train.labels
        array = labels if name == self.labelled else self.data.train.inputs[self.arrays[name]]
        assert array is not None
        return array

    def _require_shape(self, name: str, rows: int) -> None:
        shape, dims = (rows, *self._array(name).shape[1:]), self.inputs[name].dims
        if dims is None:
            return
        fits = len(dims) == len(shape) and all(
            dim == extent for dim, extent in zip(dims, shape, strict=True) if isinstance(dim, int)
        )
        if not fits:
            raise error(
                "FX563",
                f"the model takes '{name}' {self.inputs[name].describe()}, and '{self.data.name}' gives it "
                f"{list(shape)}",
                place=Place(str(self.path)),
                hint="where only the first extent differs: export the model with an open one, or set --batch "
                "(with --micro-batch, that)",
            )

    def _dtype(self, name: str) -> np.dtype[Any]:
        element, array = self.inputs[name].element, self._array(name)
        if element not in DTYPES or (element == "f32") != (array.dtype.kind == "f"):
            raise self._unfit(f"the model's input '{name}' is {element}, its array {array.dtype}")
        return DTYPES[element]

    def _free_inputs(self) -> Sequence[str]:
        return [name for name in self.inputs if name not in self.arrays and name != self.labelled]

    def _free_arrays(self) -> Sequence[str]:
        return [name for name in self.data.train.inputs if name not in self.arrays.values()]

    def _unfit(self, message: str) -> CompileError:
        inputs = ", ".join(f"'{one.name}' {one.element} {one.describe()}" for one in self.inputs.values())
        arrays = ", ".join(_described(*item) for item in self.data.train.inputs.items())
        given = self.data.train.labels
        labels = "" if given is None else f", labels {_described(self.data.label, given)}"
        return error(
            "FX563",
            message,
            place=Place(str(self.path)),
            detail=f"inputs {inputs or 'none'}; '{self.data.name}' has {arrays}{labels}",
            hint="name the arrays after the model's inputs, and the labels by --label",
        )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _described(name: str, array: Array) -> str:
    extents = "".join(f", {extent}" for extent in array.shape[1:])
    return f"'{name}' {array.dtype} [N{extents}]"
