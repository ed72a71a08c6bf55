"""The tile program of a vector group: loads, steps, quantizations, and the largest tile that fits.

All results of a group have one shape. It is walked in tiles, cut in the outermost dimension in which a cut is
enough. Slots are striped over the cores: the engines behind the cores work on the chip's tile.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import lcm
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp
from flexc.ir.placement import PLANE_BITS, Placement, Plane
from flexc.passes.scheduling.buffer_slots import BufferPlan, BufferSlot
from flexc.passes.scheduling.layout import (
    FP10_RUN,
    PLAIN_FORMATS,
    grouped_dim,
    shape_of,
    storage_order,
    table_placement,
)
from flexc.passes.scheduling.stages import Stage, make_stage
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis
from flexc.passes.scheduling.vector_sources import Source, broadcast_rules
from flexc.passes.scheduling.vector_steps import Domain, Step, granules, step_of
from flexc.target.machine import Target

PlacementOf: TypeAlias = Callable[[SSAValue], Placement]


@dataclass(frozen=True)
class TileSlot:
    """A tile and the slot that it lies in."""

    tile: Tile
    slot: BufferSlot


@dataclass(frozen=True)
class VectorPlan:
    """A group on tiles of ``tile`` elements in each domain dimension.

    ``sources`` are loaded; ``values`` are the results of the steps and what quantizations read.
    """

    domain: Domain
    tile: tuple[int, ...]
    steps: tuple[Step, ...]
    sources: Mapping[Source, TileSlot]
    values: Mapping[SSAValue, TileSlot]
    stages: tuple[Stage, ...]
    buffers: BufferPlan

    @property
    def loops(self) -> tuple[tuple[int, int], ...]:
        """Domain dimensions that are cut, outermost first, and their trip counts."""
        return domain_loops(self.domain, self.tile)

    def operand(self, source: Source) -> TileSlot:
        """Where an operand of a step lies."""
        found = self.values.get(source.value) if source.table is None else None
        return self.sources[source] if found is None else found


def domain_loops(domain: Domain, tile: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The loops over tiles with more than one iteration, outermost first: (dimension, trip count)."""
    trips = ((dim, -(-domain.shape[dim] // tile[dim])) for dim in domain.order)
    return tuple((dim, count) for dim, count in trips if count > 1)


def domain_of(ops: Sequence[Operation], placement_of: PlacementOf) -> Domain:
    """The dimensions of the first op's result as they lie in DRAM; a scalar has one of extent 1."""
    result = ops[0].results[0]
    shape = shape_of(result)
    if not shape:
        return Domain((1,), (0,))
    return Domain(shape, storage_order(placement_of(result).planes[0], shape))


@dataclass(frozen=True)
class Choice:
    """The tile of a plan, and which of the ways to plan it is taken."""

    way: int
    tile: tuple[int, ...]


Choices: TypeAlias = dict[Hashable, Choice]
"""Choices by what they depend on: networks repeat their layers, and a search tries several plans."""


def plan_vector_group(
    ops: Sequence[Operation],
    stored: Sequence[SSAValue],
    placement_of: PlacementOf,
    target: Target,
    choices: Choices,
) -> VectorPlan:
    """The plan with the largest tiles that fit double-buffered, or failing that the smallest ones single.

    ``stored`` are the results that go to DRAM. ``choices`` are those made before for the same target. Whether
    even the smallest tiles fit is for the caller to ask (``buffers.overflow``).
    """
    planner = _Planner(ops, stored, placement_of, target)
    ways = [partial(planner.plan, depth=depth) for depth in (2, 1)]
    likeness = planner.likeness()
    choice = choices.get(likeness)
    if choice is None:
        choice = choices[likeness] = largest_choice(planner.domain, planner.granule, ways)
    return ways[choice.way](choice.tile)


class Plan(Protocol):
    """A tile program that says which buffers it takes."""

    @property
    def buffers(self) -> BufferPlan: ...


AnyPlan = TypeVar("AnyPlan", bound=Plan)


def largest_plan(
    domain: Domain,
    granule: Mapping[int, int],
    plans: Sequence[Callable[[tuple[int, ...]], AnyPlan]],
    *,
    allows: Callable[[tuple[int, ...]], bool] = lambda tile: True,
) -> AnyPlan:
    """The plan with the largest tile that fits the buffers, by the first of ``plans`` that has one.

    ``plans`` make the plan of a tile, the preferred first; ``allows`` refuses tiles for other reasons. Where
    no tile fits, the last of ``plans`` for the smallest: the caller asks ``buffers.overflow``.
    """
    choice = largest_choice(domain, granule, plans, allows=allows)
    return plans[choice.way](choice.tile)


def largest_choice(
    domain: Domain,
    granule: Mapping[int, int],
    plans: Sequence[Callable[[tuple[int, ...]], Plan]],
    *,
    allows: Callable[[tuple[int, ...]], bool] = lambda tile: True,
) -> Choice:
    """As :func:`largest_plan`: which of ``plans`` it is, and of which tile."""
    for way, plan in enumerate(plans):

        def fits(tile: tuple[int, ...], plan: Callable[[tuple[int, ...]], Plan] = plan) -> bool:
            return allows(tile) and plan(tile).buffers.overflow is None

        tile = largest_tile(domain, granule, fits)
        if tile is not None:
            return Choice(way, tile)
    return Choice(len(plans) - 1, smallest_tile(domain, granule))


def smallest_tile(domain: Domain, granule: Mapping[int, int]) -> tuple[int, ...]:
    """One granule in every dimension."""
    return tuple(min(granule.get(dim, 1), extent) for dim, extent in enumerate(domain.shape))


def largest_tile(
    domain: Domain, granule: Mapping[int, int], fits: Callable[[tuple[int, ...]], bool]
) -> tuple[int, ...] | None:
    """The tile that is whole in the innermost dimensions, cut in one, and smallest in those outside it.

    The cut makes tiles of nearly equal extent. None where not even the smallest tile fits.
    """
    if fits(domain.shape):
        return domain.shape
    smallest = smallest_tile(domain, granule)
    tile = list(domain.shape)
    for dim in domain.order:
        unit, extent = smallest[dim], domain.shape[dim]
        low, high = 0, -(-extent // unit)
        while high - low > 1:
            middle = (low + high) // 2
            tile[dim] = min(middle * unit, extent)
            low, high = (middle, high) if fits(tuple(tile)) else (low, middle)
        if low:
            trips = -(-extent // (low * unit))
            tile[dim] = min(-(-extent // (trips * unit)) * unit, extent)
            return tuple(tile)
        tile[dim] = unit
    return tuple(tile) if fits(tuple(tile)) else None


class _Load(NamedTuple):
    """What is loaded: its plane in DRAM, the bits of an element on chip, and a name for messages."""

    plane: Plane
    bits: int
    label: str


def _bits(result: SSAValue) -> int:
    assert isinstance(result.type, TensorType)
    return PLANE_BITS[PLAIN_FORMATS[result.type.element_type]]


class _Planner:
    """What does not depend on the tile, and the slots for a tile."""

    def __init__(
        self,
        ops: Sequence[Operation],
        stored: Sequence[SSAValue],
        placement_of: PlacementOf,
        target: Target,
    ) -> None:
        self.placement_of = placement_of
        self.target = target
        self.domain = domain_of(ops, placement_of)
        self.steps = tuple(step_of(op, self.domain) for op in ops if not isinstance(op, bfp.QuantizeOp))
        self.quantizes = tuple(op for op in ops if isinstance(op, bfp.QuantizeOp))
        computed = {step.op.results[0] for step in self.steps}
        self.quantized = {
            op.x: Source(op.x, broadcast_rules(op.x, self.domain.shape, self.domain.order))
            for op in self.quantizes
            if op.x not in computed
        }
        self.loaded = {
            source: self._plane_of(source)
            for source in (*self.quantized.values(), *(one for step in self.steps for one in step.sources))
            if source.table is not None or source.value not in computed
        }
        kept = {*stored, *(op.x for op in self.quantizes)}
        self.last_use = {
            source.value: len(self.steps) if source.value in kept else index
            for index, step in enumerate(self.steps)
            for source in step.sources
            if source.table is None
        }
        self.granule = self._granule(ops)

    def _plane_of(self, source: Source) -> _Load:
        table = source.table
        plane = (self.placement_of(source.value) if table is None else table_placement(table)).planes[0]
        bits = PLANE_BITS["f32"] if plane.format == "fp10" else plane.bits
        name = source.value.name_hint or ""
        return _Load(plane, bits, f"operand {name}".rstrip() if table is None else "constants")

    def _granule(self, ops: Sequence[Operation]) -> dict[int, int]:
        found: dict[int, int] = {}

        def join(dim: int, multiple: int) -> None:
            found[dim] = lcm(found.get(dim, 1), multiple)

        for op in ops:
            for dim, multiple in granules(op, self.domain).items():
                join(dim, multiple)
        for source in self.loaded:
            if source.table is None and self.placement_of(source.value).planes[0].format == "fp10":
                for rule in source.rules:
                    if rule.dim == 1 and rule.follows is not None:
                        join(rule.follows, FP10_RUN)
        return found

    def likeness(self) -> Hashable:
        """All that the sizes of slots depend on but the tile: groups alike in it take the same tiles."""
        loaded = {source: place for place, source in enumerate(self.loaded)}
        made: dict[SSAValue, int] = {step.op.results[0]: place for place, step in enumerate(self.steps)}

        def use(source: Source) -> tuple[bool, int, int]:
            """Whether it is loaded, which of the loads or results it is, and the last step that reads it."""
            last = -1 if source.table is not None else self.last_use[source.value]
            return source in loaded, loaded[source] if source in loaded else made[source.value], last

        loads = tuple(
            (load.plane.strides_bits, load.bits, source.rules, source.gather is None)
            for source, load in self.loaded.items()
        )
        steps = tuple(
            (step.only_loads, _bits(step.op.results[0]), *map(use, step.sources)) for step in self.steps
        )
        stages = tuple(
            (op.out.type, *(plane.strides_bits for plane in self.placement_of(op.out).planes))
            for op in self.quantizes
        )
        return self.domain, tuple(sorted(self.granule.items())), loads, steps, stages

    def plan(self, tile: tuple[int, ...], depth: int) -> VectorPlan:
        """The slots for a tile, moving ones of ``depth`` buffers."""
        buffers = BufferPlan(self.target)
        loops = [dim for dim, _ in domain_loops(self.domain, tile)]
        sources = {source: self._load(source, tile, loops, depth, buffers) for source in self.loaded}
        values = {value: sources[source] for value, source in self.quantized.items()}
        axes = tuple(self._axis(dim, tile, 0) for dim in self.domain.order)
        boxes: dict[int, Tile] = {}
        free: dict[int, list[BufferSlot]] = {}
        for index, step in enumerate(self.steps):
            result = step.op.results[0]
            if step.only_loads:
                values[result] = sources[step.operands[0]]
                continue
            for source in dict.fromkeys(step.sources):
                dying = source.table is None and self.last_use.get(source.value) == index
                if dying and source not in sources and values[source.value].slot.label.startswith("result"):
                    held = values[source.value]
                    free.setdefault(held.tile.bits, []).append(held.slot)
            bits = _bits(result)
            if bits not in boxes:
                boxes[bits] = Tile(axes, bits)
            values[result] = self._result(result, boxes[bits], depth, free, buffers)
        stages = tuple(self._stage(op, tile, depth, buffers) for op in self.quantizes)
        return VectorPlan(self.domain, tile, self.steps, sources, values, stages, buffers)

    def _load(
        self, source: Source, tile: tuple[int, ...], loops: Sequence[int], depth: int, buffers: BufferPlan
    ) -> TileSlot:
        load = self.loaded[source]
        box = source.tile(tile, load.plane, load.bits)
        deep = depth if any(box.moves_with(dim) for dim in loops) else 1
        slot = buffers.take_striped(
            load.label, box.size_bytes, depths=(deep,), buffers=("operand", "held", "psum")
        )
        return TileSlot(box, slot)

    def _result(
        self,
        result: SSAValue,
        box: Tile,
        depth: int,
        free: dict[int, list[BufferSlot]],
        buffers: BufferPlan,
    ) -> TileSlot:
        if free.get(box.bits):
            return TileSlot(box, free[box.bits].pop())
        label = f"result {result.name_hint or ''}".rstrip()
        slot = buffers.take_striped(
            label, box.size_bytes, depths=(depth,), buffers=("psum", "held", "operand")
        )
        return TileSlot(box, slot)

    def _axis(self, dim: int, tile: tuple[int, ...], stride_bits: int) -> TileAxis:
        extent = self.domain.shape[dim]
        return TileAxis(stride_bits, tile[dim], extent, advance={dim: tile[dim]}, position={dim: 1})

    def _stage(self, op: bfp.QuantizeOp, tile: tuple[int, ...], depth: int, buffers: BufferPlan) -> Stage:
        assert isinstance(op.out.type, bfp.BlockTensorType)
        mantissa, exponent = self.placement_of(op.out).planes
        axis = grouped_dim(op.out)
        return make_stage(
            op,
            axis,
            op.out.type.get_tile()[axis],
            {dim: self._axis(dim, tile, stride) for dim, stride in enumerate(mantissa.strides_bits)},
            {dim: self._axis(dim, tile, stride) for dim, stride in enumerate(exponent.strides_bits)},
            mantissa.bits,
            buffers,
            depths=(depth,),
        )
