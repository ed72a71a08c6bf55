"""Assumed parameters that speed-ups hang on, each varied alone: the ranges that are given for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from flexc.target.machine import Target
from flexc.target.tables import AreaTable


@dataclass(frozen=True)
class Variation:
    """One assumed parameter at another value."""

    parameter: str
    value: str
    """Words for the value, against the target's own."""
    change: Callable[[Target], Target]


def _dram(factor: float) -> Variation:
    def change(target: Target) -> Target:
        return replace(target, dram_bytes_per_second=target.dram_bytes_per_second * factor)

    return Variation("DRAM bandwidth", f"x {factor:g}", change)


def _buffers(factor: float) -> Variation:
    def change(target: Target) -> Target:
        return replace(
            target,
            operand_buffer_bytes=int(target.operand_buffer_bytes * factor),
            held_buffer_bytes=int(target.held_buffer_bytes * factor),
            psum_buffer_bytes=int(target.psum_buffer_bytes * factor),
        )

    return Variation("buffers", f"x {factor:g}", change)


def _fp32_adders(count: int) -> Variation:
    return Variation("fp32 adders of a PE", str(count), lambda target: replace(target, pe_fp32_adders=count))


def _area(entry: str, factor: float) -> Variation:
    def change(target: Target) -> Target:
        found = getattr(target.area, entry)
        area: AreaTable = replace(target.area, **{entry: replace(found, value=found.value * factor)})
        return replace(target, area=area)

    return Variation(f"area.{entry}", f"x {factor:g}", change)


VARIATIONS: tuple[Variation, ...] = (
    *(_dram(factor) for factor in (0.5, 2.0)),
    *(_buffers(factor) for factor in (0.5, 2.0)),
    *(_fp32_adders(count) for count in (2, 8)),
    *(
        _area(entry, factor)
        for entry in ("composed_multiply_factor", "fp32_add_um2", "register_um2_per_bit")
        for factor in (0.5, 2.0)
    ),
)
