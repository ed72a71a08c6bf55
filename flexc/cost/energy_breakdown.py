"""Energy by the component that spends it."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields


@dataclass(frozen=True)
class EnergyBreakdown:
    """Energy of some work, pJ, by component."""

    multipliers: float = 0.0
    adders: float = 0.0
    """Integer and fp32 adders, and the registers that accumulate."""
    lines: float = 0.0
    """Registers that operands, streamed or held, are clocked through."""
    buffers: float = 0.0
    dram: float = 0.0
    converters: float = 0.0
    vector: float = 0.0
    lightnorm: float = 0.0

    @property
    def total(self) -> float:
        """All components."""
        parts: tuple[float, ...] = astuple(self)
        return sum(parts)

    def by_component(self) -> dict[str, float]:
        """Energy by the name of its component, in the order of the fields."""
        return {name: getattr(self, name) for name in COMPONENTS}

    def __add__(self, other: EnergyBreakdown) -> EnergyBreakdown:
        """Both works."""
        # Spelled out: sums over thousands of groups spend their time here.
        return EnergyBreakdown(
            self.multipliers + other.multipliers,
            self.adders + other.adders,
            self.lines + other.lines,
            self.buffers + other.buffers,
            self.dram + other.dram,
            self.converters + other.converters,
            self.vector + other.vector,
            self.lightnorm + other.lightnorm,
        )


COMPONENTS: tuple[str, ...] = tuple(each.name for each in fields(EnergyBreakdown))
COMPONENT_WORDS = {
    "multipliers": "multipliers",
    "adders": "adders",
    "lines": "operand and weight lines",
    "buffers": "buffers",
    "dram": "DRAM",
    "converters": "converter",
    "vector": "vector unit",
    "lightnorm": "LightNorm unit",
}
"""What a reader calls the components."""
