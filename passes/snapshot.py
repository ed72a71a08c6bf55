"""The IR at one moment, kept cheaply enough to take before every pass: about a microsecond an op.

A clone or a dump costs fifty times that, and is needed only when a pass fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue


@dataclass(frozen=True)
class _OpRecord:
    op_class: type[Operation]
    operands: tuple[SSAValue, ...]
    results: tuple[SSAValue, ...]
    result_types: tuple[Attribute, ...]
    attributes: dict[str, Attribute]
    properties: dict[str, Attribute]
    regions: tuple[tuple[_BlockRecord, ...], ...]


@dataclass(frozen=True)
class _BlockRecord:
    arguments: tuple[SSAValue, ...]
    argument_types: tuple[Attribute, ...]
    ops: tuple[_OpRecord, ...]


@dataclass(frozen=True)
class Snapshot:
    """What a module held when the snapshot was taken, whatever has been done to the module since."""

    _module: _OpRecord
    _name_hints: dict[SSAValue, str | None]

    @classmethod
    def of(cls, module: ModuleOp) -> Snapshot:
        """Takes the snapshot. Branches between blocks are not kept: flexc's functions are straight lines."""
        hints: dict[SSAValue, str | None] = {}
        return cls(_record_op(module, hints), hints)

    def rebuild(self) -> ModuleOp:
        """A new module with the content of the snapshot."""
        values: dict[SSAValue, SSAValue] = {}
        module = self._rebuild_op(self._module, values)
        assert isinstance(module, ModuleOp)
        return module

    def _rebuild_op(self, record: _OpRecord, values: dict[SSAValue, SSAValue]) -> Operation:
        op = record.op_class.create(
            operands=[values[operand] for operand in record.operands],
            result_types=record.result_types,
            attributes=dict(record.attributes),
            properties=dict(record.properties),
            regions=[
                Region([self._rebuild_block(one, values) for one in blocks]) for blocks in record.regions
            ],
        )
        self._map(record.results, tuple(op.results), values)
        return op

    def _rebuild_block(self, record: _BlockRecord, values: dict[SSAValue, SSAValue]) -> Block:
        block = Block(arg_types=record.argument_types)
        self._map(record.arguments, tuple(block.args), values)
        for op in record.ops:
            block.add_op(self._rebuild_op(op, values))
        return block

    def _map(
        self, old: tuple[SSAValue, ...], new: tuple[SSAValue, ...], values: dict[SSAValue, SSAValue]
    ) -> None:
        for before, after in zip(old, new, strict=True):
            after.name_hint = self._name_hints[before]
            values[before] = after


def _record_op(op: Operation, hints: dict[SSAValue, str | None]) -> _OpRecord:
    results = tuple(op.results)
    for result in results:
        hints[result] = result.name_hint
    return _OpRecord(
        type(op),
        tuple(op.operands),
        results,
        tuple(result.type for result in results),
        dict(op.attributes),
        dict(op.properties),
        tuple(tuple(_record_block(block, hints) for block in region.blocks) for region in op.regions),
    )


def _record_block(block: Block, hints: dict[SSAValue, str | None]) -> _BlockRecord:
    arguments = tuple(block.args)
    for argument in arguments:
        hints[argument] = argument.name_hint
    return _BlockRecord(
        arguments,
        tuple(argument.type for argument in arguments),
        tuple(_record_op(op, hints) for op in block.ops),
    )
