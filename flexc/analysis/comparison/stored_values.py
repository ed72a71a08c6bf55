"""The plain values of a graph as its groups store and read them: in which format, and who stored them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import prod

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue

from flexc.analysis.comparison.grouping import OpGrouping
from flexc.analysis.comparison.walks import plain_storage
from flexc.analysis.comparison.workload import Storage, StoredBy, Tensor
from flexc.ir import bfp, nn
from flexc.passes.scheduling.group_rules import CONSTANTS
from flexc.passes.scheduling.layout import PLAIN_FORMATS, shape_of, stored_as_fp10


@dataclass(frozen=True)
class GroupResults:
    """What a group makes that others may need."""

    quantized: tuple[bfp.QuantizeOp, ...]
    """Quantizations, but for those of what is known at compile time, which are done there."""
    stored: tuple[SSAValue, ...]
    """Plain results that reach DRAM."""
    only_quantized: tuple[SSAValue, ...]
    """Plain results that only quantizations of the group read."""


class StoredValues:
    """Looks values up, each once: networks read their activations several times."""

    def __init__(self, grouping: OpGrouping, arguments: Collection[SSAValue]) -> None:
        self._grouping = grouping
        self._arguments = frozenset(arguments)
        self._storages: dict[SSAValue, Storage] = {}
        self._results: dict[int, GroupResults] = {}
        self._places: dict[int, dict[SSAValue, int]] = {}
        self._parameter_shapes: dict[int, set[tuple[int, ...]]] = {}

    def is_argument(self, value: SSAValue) -> bool:
        """Whether ``value`` is an argument of the function, under any name."""
        return self._grouping.root(value) in self._arguments

    def is_constant(self, value: SSAValue) -> bool:
        """Whether ``value`` is known at compile time."""
        return isinstance(self._grouping.root(value).owner, CONSTANTS)

    def results_of(self, index: int) -> GroupResults:
        """What the group of that number makes."""
        found = self._results.get(index)
        if found is None:
            found = self._results[index] = self._results_of(self._grouping.groups[index].ops)
        return found

    def stored_by(self, value: SSAValue) -> StoredBy | None:
        """The group that stores ``value``; None for an argument, a constant and what is quantized of one."""
        root = self._grouping.root(value)
        index = self._grouping.group_index.get(root)
        if index is None or (isinstance(root.owner, bfp.QuantizeOp) and self.is_constant(root.owner.x)):
            return None
        if index not in self._places:
            results = self.results_of(index)
            places: dict[SSAValue, int] = {op.out: 2 * at for at, op in enumerate(results.quantized)}
            first = 2 * len(places)
            self._places[index] = places | {value: first + at for at, value in enumerate(results.stored)}
        return StoredBy(index, self._places[index][root])

    def read(self, value: SSAValue) -> Tensor:
        """``value`` as a group reads it."""
        return Tensor(prod(shape_of(value)), self._storage(value), self.stored_by(value))

    def written(self, value: SSAValue) -> Tensor:
        """``value`` as its group stores it."""
        return Tensor(prod(shape_of(value)), self._storage(value))

    def _results_of(self, ops: list[Operation]) -> GroupResults:
        quantized: list[bfp.QuantizeOp] = []
        stored: list[SSAValue] = []
        only_quantized: list[SSAValue] = []
        for op in ops:
            if isinstance(op, bfp.QuantizeOp):
                if not self.is_constant(op.x):
                    quantized.append(op)
                continue
            for result in op.results:
                readers = list(_readers(result))
                if isinstance(result.type, bfp.BlockTensorType) or not readers:
                    continue
                if any(reader not in ops for reader in readers):
                    stored.append(result)
                elif any(isinstance(reader, bfp.QuantizeOp) for reader in readers):
                    only_quantized.append(result)
        return GroupResults(tuple(quantized), tuple(stored), tuple(only_quantized))

    def _storage(self, value: SSAValue) -> Storage:
        found = self._storages.get(value)
        if found is None:
            found = self._storages[value] = self._storage_of(value)
        return found

    def _storage_of(self, value: SSAValue) -> Storage:
        if self._of_parameter(value) or isinstance(value.owner, CONSTANTS):
            assert isinstance(value.type, TensorType)
            return "f32" if PLAIN_FORMATS[value.type.element_type] == "f32" else plain_storage(value)
        if isinstance(value.owner, Operation) and stored_as_fp10(value):
            return "fp10"
        return plain_storage(value)

    def _of_parameter(self, value: SSAValue) -> bool:
        """Whether ``value`` is an argument, or made element by element of one with its shape (an update)."""
        if value in self._arguments:
            return True
        index = self._grouping.group_index.get(value)
        if index is None or isinstance(value.owner, bfp.CONTRACTIONS):
            return False
        if index not in self._parameter_shapes:
            operands = (operand for op in self._grouping.groups[index].ops for operand in op.operands)
            self._parameter_shapes[index] = {shape_of(one) for one in operands if one in self._arguments}
        return shape_of(value) in self._parameter_shapes[index]


def _readers(value: SSAValue) -> Iterator[Operation]:
    """The ops that read ``value``, by its other names too."""
    for use in value.uses:
        if isinstance(use.operation, nn.ReshapeOp):
            yield from _readers(use.operation.out)
        yield use.operation
