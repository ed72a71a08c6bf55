"""What tile programs load and store: cycles of transfers, and where what they read comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

from flexc.analysis.comparison.machines import Machine
from flexc.analysis.comparison.workload import BlockOperand, StoredBy, Tensor
from flexc.cost.energy_breakdown import EnergyBreakdown
from flexc.cost.operand_loads import dma_cycles
from flexc.cost.pipeline import FirstLoad
from flexc.target.machine import Target


@dataclass(frozen=True)
class EngineWork:
    """Cycles at work of all engines but the cores, and bytes each way."""

    read_bytes: int
    written_bytes: int
    vector: int
    converter: int
    lightnorm: int
    energy: EnergyBreakdown


@dataclass(frozen=True)
class Results:
    """What a tile program stores, in order: quantized tensors, then plain ones, each with its place.

    Places are those of :class:`~flexc.analysis.comparison.workload.StoredBy`.
    """

    quantized: tuple[BlockOperand, ...] = ()
    plain: tuple[Tensor, ...] = ()
    places: tuple[int, ...] = ()

    @property
    def planes(self) -> int:
        """Transfers of one tile."""
        return 2 * len(self.quantized) + len(self.plain)

    @property
    def records(self) -> int:
        """Instructions of one tile: conversions and transfers."""
        return len(self.quantized) + self.planes

    def shares(self, machine: Machine, tiles: int) -> tuple[tuple[int, float], ...]:
        """For the place of each plane, the share of a tile's stores behind which it is stored."""
        system = machine.system
        latency = dma_cycles(system, 0, 1)
        found: list[tuple[int, int]] = []
        for one, place in zip(self.quantized, self.places, strict=False):
            bits = machine.operand_bits(one) or 0
            found += ((place, dma_cycles(system, ceil(bits / 8 / tiles), 1)), (place + 1, latency))
        for tensor, place in zip(self.plain, self.places[len(self.quantized) :], strict=True):
            found.append((place, dma_cycles(system, ceil(tensor_bits(tensor, machine) / 8 / tiles), 1)))
        whole = sum(cycles for _, cycles in found)
        done = accumulate(cycles for _, cycles in found)
        return tuple((place, cycles / whole) for (place, _), cycles in zip(found, done, strict=True))


@dataclass(frozen=True)
class Load:
    """A tensor that is loaded in ``loads`` parts over all tiles, each part of it ``sweeps`` times."""

    bits: int
    loads: int
    stored_by: StoredBy | None
    transfers: int = 1
    """Planes that it consists of."""
    sweeps: int = 1

    @property
    def instructions(self) -> int:
        """Transfers over all tiles."""
        return self.transfers * self.loads

    def cycles(self, system: Target) -> int:
        """Of all transfers."""
        return dma_cycles(system, ceil(self.bits * self.sweeps / 8), self.instructions)

    def first(self, system: Target) -> tuple[FirstLoad, ...]:
        """What the first tile needs."""
        share = ceil(self.bits * self.sweeps / 8 / self.loads)
        return first_loads(system, dma_cycles(system, share, self.transfers), self.transfers, self.stored_by)


def first_loads(
    system: Target, cycles: int, planes: int, stored_by: StoredBy | None
) -> tuple[FirstLoad, ...]:
    """The first tile of what a group stored, plane by plane; exponents hardly take more than the latency."""
    if stored_by is None:
        return (FirstLoad(cycles),)
    latency = dma_cycles(system, 0, 1)
    each = (cycles - max(0, planes - 1) * latency, *(latency,) * (planes - 1))
    return tuple(
        FirstLoad(plane_cycles, stored_by.group, stored_by.place + plane)
        for plane, plane_cycles in enumerate(each)
    )


def tensor_bits(tensor: Tensor, machine: Machine) -> int:
    """Bits of a whole tensor in DRAM."""
    return tensor.elements * machine.tensor_bits(tensor)


def store_cycles(tensors: Sequence[Tensor], machine: Machine, tiles: int) -> int:
    """Cycles to store tensors a tile at a time."""
    return sum(dma_cycles(machine.system, ceil(tensor_bits(one, machine) / 8), tiles) for one in tensors)
