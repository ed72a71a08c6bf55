"""The roofline of a program: what its target could do in each mode, and what each group of ops does.

Both DMA engines run at the whole rate of the DRAM, so a group's intensity counts the bytes of the direction
that moves more; then no group can lie above a roof.
"""

from __future__ import annotations

from dataclasses import dataclass

from flexc.schedule import ContractionSchedule, Schedule
from flexc.target.machine import Target

MODES = {(4, 4): "FB12", (8, 8): "FB16", (16, 16): "FB24"}


@dataclass(frozen=True)
class Roof:
    """What all multipliers do in one mode, for mantissas of two widths, the narrower first."""

    mode: str
    mantissa_bits: tuple[int, int]
    gigamacs_per_second: float


@dataclass(frozen=True)
class RooflinePoint:
    """A group with contractions, from its first start to its last end."""

    group: int
    layer: str
    part: str
    mode: str
    macs_per_byte: float
    gigamacs_per_second: float


@dataclass(frozen=True)
class Roofline:
    """Roofs, the fastest first, and the points below them; every rate is an assumption of the target."""

    target: str
    dram_gigabytes_per_second: float
    roofs: tuple[Roof, ...]
    points: tuple[RooflinePoint, ...]

    def bound(self, roof: Roof, macs_per_byte: float) -> float:
        """The most that is possible in a mode at an intensity, in 10^9 MACs a second."""
        return min(roof.gigamacs_per_second, self.dram_gigabytes_per_second * macs_per_byte)


def roofline_of(schedule: Schedule, target: Target) -> Roofline:
    """The roofline of a schedule on its target; fp32 contractions have no mode and are left out."""
    points, pairs = [], set(MODES)
    for group in schedule.groups:
        if not group.contractions or not group.cycles:
            continue
        pair = mantissa_bits(group.contractions[0])
        pairs.add(pair)
        moved = max(group.read_bytes, group.written_bytes)
        if moved:
            part = group.contractions[0].training_pass
            rate = group.macs / group.cycles * target.clock_mhz / 1e3
            points.append(
                RooflinePoint(group.index, group.label, part, mode_name(pair), group.macs / moved, rate)
            )
    roofs = [Roof(mode_name(pair), pair, _peak(target, pair)) for pair in pairs]
    return Roofline(
        target.name,
        target.dram_bytes_per_second / 1e9,
        tuple(sorted(roofs, key=lambda roof: (-roof.gigamacs_per_second, roof.mode))),
        tuple(points),
    )


def mantissa_bits(contraction: ContractionSchedule) -> tuple[int, int]:
    """Mantissa bits of a contraction's operands, the narrower first."""
    first, second = sorted(int(text.split()[0].removeprefix("m")) for text in contraction.formats)
    return first, second


def mode_name(pair: tuple[int, int]) -> str:
    """``FB16``, or ``4 x 16 bits`` for operands of two widths."""
    return MODES.get(pair, f"{pair[0]} x {pair[1]} bits")


def _peak(target: Target, pair: tuple[int, int]) -> float:
    return target.multipliers / target.pe_shape(*pair).multipliers_per_mac * target.clock_mhz / 1e3
