"""Give every value in DRAM its address.

    placement<m8 size 640 strides [...], e8 size 64 strides [...]>
        ->  placement<m8 at 4096 size 640 strides [...], e8 at 4736 size 64 strides [...]>

Constants and tables come first, then inputs and outputs, which live throughout; other values share memory
where no group needs two of them at once. Everything starts on 64 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Block, Operation, OpResult, SSAValue

from flexc.diagnostics import Place, error
from flexc.ir import nn
from flexc.ir.placement import (
    ARGUMENT_PLACEMENTS,
    TABLE,
    Placement,
    PlacementAttr,
    group_of,
    placement_array,
    placement_of,
    placements_in,
    result_placements,
    set_attribute,
    set_result_placements,
)
from flexc.ir.program import Graph, carried_names
from flexc.passes.base import Pass
from flexc.target import load_target

ALIGNMENT_BYTES = 64
MIB = 1 << 20


@dataclass(frozen=True)
class Lifetime:
    """A value that needs ``size_bytes`` from group ``first`` to group ``last``, both included."""

    value: SSAValue
    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Allocate(Pass):
    """Option: the target (a name or a .toml file)."""

    name: ClassVar[str] = "allocate"
    target: str = "flexblock"

    def run(self, graph: Graph) -> bool:
        """Raises CompileError FX422 where DRAM is too small."""
        target = load_target(self.target)
        allocation = _Allocation(graph)
        allocation.assign()
        if allocation.end_bytes > target.dram_capacity_bytes:
            raise error(
                "FX422",
                f"the model needs {allocation.end_bytes} bytes of DRAM, of which '{target.name}' has "
                f"{target.dram_capacity_bytes}",
                place=Place(graph.file),
                detail=f"constants {allocation.constant_bytes}, inputs and outputs {allocation.kept_bytes}, "
                f"values in between {allocation.shared_bytes}",
                hint=_hint(graph),
            )
        return allocation.write()


def _hint(graph: Graph) -> str:
    ways = "a smaller batch, narrower mantissas or a target with more DRAM would help"
    return f"--micro-batch M (the batch in parts of M), {ways}" if carried_names(graph.main) else ways


@dataclass
class _Allocation:
    """Addresses by value and, for tables, by op, from the bottom of DRAM up."""

    graph: Graph
    end_bytes: int = 0
    constant_bytes: int = 0
    kept_bytes: int = 0
    addresses: dict[SSAValue | Operation, int] = field(default_factory=dict)

    @property
    def block(self) -> Block:
        """The body of the function."""
        return self.graph.main.body.block

    @property
    def arguments(self) -> tuple[Placement, ...]:
        """Where the arguments of the function lie."""
        return placements_in(self.graph.main.attributes.get(ARGUMENT_PLACEMENTS))

    @property
    def shared_bytes(self) -> int:
        """Bytes that values in between share."""
        return self.end_bytes - self.constant_bytes - self.kept_bytes

    def assign(self) -> None:
        """Addresses for everything."""
        for op in self.block.ops:
            placement = placement_of(op)
            if placement is not None and not op.operands and group_of(op) is None:
                self.addresses[op.results[0]] = self._append(placement)
        for op in self.block.ops:
            table = placement_of(op, TABLE)
            if table is not None:
                self.addresses[op] = self._append(table)
        self.constant_bytes = self.end_bytes
        for argument, placement in zip(self.block.args, self.arguments, strict=True):
            self.addresses[argument] = self._append(placement)
        for value in _outputs(self.block):
            base = base_of(value)
            if base not in self.addresses:
                self.addresses[base] = self._append(_placement_of_result(base))
        self.kept_bytes = self.end_bytes - self.constant_bytes
        self._share_the_rest()

    def _append(self, placement: Placement) -> int:
        address = self.end_bytes
        self.end_bytes += padded_bytes(placement)
        return address

    def _share_the_rest(self) -> None:
        """First fit, largest values first, above everything that is kept."""
        bottom = self.end_bytes
        lives = sorted(self._lifetimes(), key=lambda life: (-life.size_bytes, life.first))
        first = np.array([life.first for life in lives], np.int64)
        last = np.array([life.last for life in lives], np.int64)
        start, end = np.zeros_like(first), np.zeros_like(first)
        for index, life in enumerate(lives):
            meets = np.flatnonzero((first[:index] <= life.last) & (life.first <= last[:index]))
            meets = meets[np.argsort(start[meets], kind="stable")]
            address = bottom
            for taken_from, taken_to in zip(start[meets].tolist(), end[meets].tolist(), strict=True):
                if address + life.size_bytes <= taken_from:
                    break
                address = max(address, taken_to)
            self.addresses[life.value] = address
            start[index], end[index] = address, address + life.size_bytes
            self.end_bytes = max(self.end_bytes, address + life.size_bytes)

    def _lifetimes(self) -> Iterator[Lifetime]:
        last: dict[SSAValue, int] = {}
        for op in self.block.ops:
            group = group_of(op)
            if group is None:
                continue
            for operand in op.operands:
                base = base_of(operand)
                last[base] = max(last.get(base, 0), group.index)
        for op in self.block.ops:
            group = group_of(op)
            if group is None:
                continue
            for value, placement in zip(op.results, result_placements(op), strict=False):
                if placement is not None and value not in self.addresses:
                    end = max(last.get(value, 0), group.index)
                    yield Lifetime(value, padded_bytes(placement), group.index, end)

    def write(self) -> bool:
        """Puts the addresses into the attributes; whether that changed any."""
        changed = False
        for op in self.block.ops:
            placements, table = result_placements(op), placement_of(op, TABLE)
            if any(placements):
                placed = [
                    None if placement is None else _at(placement, self.addresses[base_of(value)])
                    for value, placement in zip(op.results, placements, strict=True)
                ]
                changed |= set_result_placements(op, placed)
            if table is not None:
                changed |= set_attribute(op, TABLE, PlacementAttr(_at(table, self.addresses[op])))
        arguments = tuple(
            _at(placement, self.addresses[argument])
            for argument, placement in zip(self.block.args, self.arguments, strict=True)
        )
        return set_attribute(self.graph.main, ARGUMENT_PLACEMENTS, placement_array(arguments)) or changed


def base_of(value: SSAValue) -> SSAValue:
    """The value that ``value`` is another shape of (itself, where it is no alias)."""
    owner = value.owner
    while isinstance(owner, nn.ReshapeOp) and group_of(owner) is None:
        value = owner.x
        owner = value.owner
    return value


def padded_bytes(placement: Placement) -> int:
    """Bytes of all planes, each padded to the alignment."""
    return sum(_aligned(plane.size_bytes) for plane in placement.planes)


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _at(placement: Placement, address: int) -> Placement:
    planes = []
    for plane in placement.planes:
        planes.append(plane.at(address))
        address += _aligned(plane.size_bytes)
    return Placement(tuple(planes))


def _placement_of_result(value: SSAValue) -> Placement:
    assert isinstance(value, OpResult)
    owner = value.op
    placement = result_placements(owner)[value.index]
    assert placement is not None, f"{owner.name} has a result in DRAM and no placement: run schedule first"
    return placement


def _outputs(block: Block) -> tuple[SSAValue, ...]:
    last = block.last_op
    assert isinstance(last, ReturnOp)
    return tuple(last.arguments)
