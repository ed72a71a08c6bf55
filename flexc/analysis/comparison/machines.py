"""Machines as the comparison sees them: what a contraction takes, how wide tensors and operands are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil, prod
from typing import Protocol

from flexc.analysis.comparison.workload import BlockOperand, Tensor
from flexc.cost.area import DatapathArea, baseline_area, flexblock_area
from flexc.cost.baselines.contraction import baseline_estimate, in_format, pooled
from flexc.cost.baselines.energy import baseline_energy
from flexc.cost.clock import estimate
from flexc.cost.dequantization import dequantization
from flexc.cost.energy import array_energy, lane_energy
from flexc.cost.energy_breakdown import EnergyBreakdown
from flexc.cost.operand_loads import OperandLoads
from flexc.cost.pipeline import EngineName
from flexc.ir.mapping import DIMS
from flexc.ir.placement import PLANE_BITS
from flexc.mapping.cache import find_mapping
from flexc.mapping.problem import ContractionProblem
from flexc.target.baseline import Baseline
from flexc.target.machine import Target

FP32_BITS = 32
CONSTANT_BYTES = 2
"""The constant 1 that a dequantization multiplies with: mantissa and exponent, loaded apart."""


@dataclass(frozen=True)
class ContractionCost:
    """One contraction on one machine, its result apart."""

    engine: EngineName
    """What computes it: the cores or, on a baseline, the vector unit."""
    compute_cycles: int
    operands: OperandLoads
    core_tile: tuple[int, ...]
    chip_tile: tuple[int, ...]
    """Extents of the loop dimensions in the tile of a core, and in that of all cores together."""
    buffers: Target
    """The cores and their buffers."""
    energy: EnergyBreakdown
    """Of the array and its buffers."""


@dataclass(frozen=True)
class DequantizationCost:
    """A dequantization on one machine, beside its loads and stores."""

    engine: EngineName
    cycles: int
    constants: int
    """Bytes that are loaded before, each apart."""
    energy: EnergyBreakdown


class Machine(Protocol):
    """An array, its number formats, and the machine around it."""

    @property
    def name(self) -> str:
        """Name of the target."""

    @property
    def system(self) -> Target:
        """Clock, DRAM, buffers and the other engines."""

    @property
    def area(self) -> DatapathArea:
        """Area of the whole datapath."""

    def contraction(self, problem: ContractionProblem) -> ContractionCost:
        """What ``problem`` takes; CompileError where it cannot run."""

    def dequantization(self, operand: BlockOperand, tiles: int) -> DequantizationCost:
        """What making fp32 values of ``operand`` takes, in so many tiles."""

    def tensor_bits(self, tensor: Tensor) -> int:
        """Bits of an element in DRAM."""

    def operand_bits(self, operand: BlockOperand) -> int | None:
        """Bits of a whole quantized operand in DRAM, exponents included; None where it is not quantized."""

    def mantissa_bits(self, operand: BlockOperand) -> int:
        """Bits of an element of a quantized operand."""

    def group_length(self, operand: BlockOperand) -> int:
        """Elements that share an exponent; 0 where elements are converted as they come."""


@dataclass(frozen=True)
class FlexBlockMachine:
    """A FlexBlock target."""

    system: Target

    @property
    def name(self) -> str:
        """Name of the target."""
        return self.system.name

    @cached_property
    def area(self) -> DatapathArea:
        """Area of the cores' datapath."""
        return flexblock_area(self.system)

    def contraction(self, problem: ContractionProblem) -> ContractionCost:
        """By the best mapping; CompileError FX41x where there is none."""
        return _flexblock_contraction(problem, self.system)

    def dequantization(self, operand: BlockOperand, tiles: int) -> DequantizationCost:
        """A product with 1 of each element, one after the other on one core (docs/schedule.md)."""
        found = dequantization(operand.elements, operand.mantissa_bits, self.system, tiles)
        return DequantizationCost("cores", found.cycles, CONSTANT_BYTES, found.energy)

    def tensor_bits(self, tensor: Tensor) -> int:
        """Results are fp32, but for LightNorm's."""
        return FP32_BITS if tensor.storage == "result" else PLANE_BITS[tensor.storage]

    def operand_bits(self, operand: BlockOperand) -> int | None:
        """Mantissas and a byte of exponent a group."""
        return _bits_of_policy(operand)

    def mantissa_bits(self, operand: BlockOperand) -> int:
        """As the policy says."""
        return operand.mantissa_bits

    def group_length(self, operand: BlockOperand) -> int:
        """As the policy says."""
        return operand.group_length


@lru_cache(maxsize=1 << 13)
def _flexblock_contraction(problem: ContractionProblem, target: Target) -> ContractionCost:
    mapping = find_mapping(problem, target)
    found = estimate(problem, mapping, target)
    return ContractionCost(
        "cores",
        found.compute_cycles,
        found.operands,
        mapping.tile,
        tuple(mapping.tile_of(dim) * mapping.core_factor(dim) for dim in DIMS),
        target,
        array_energy(problem, mapping, target, found),
    )


@dataclass(frozen=True)
class BaselineMachine:
    """A baseline array in place of FlexBlock's cores on ``system``."""

    baseline: Baseline
    system: Target

    @property
    def name(self) -> str:
        """Name of the baseline."""
        return self.baseline.name

    @cached_property
    def area(self) -> DatapathArea:
        """Area of the array, by the table of the system."""
        return baseline_area(self.baseline, self.system.area)

    def contraction(self, problem: ContractionProblem) -> ContractionCost:
        """By the best tiles in the baseline's format; on the vector unit where that is faster.

        A grid has little use for a depthwise gradient, and nobody would run it there.
        """
        formatted = in_format(problem, self.baseline.numerics)
        found = baseline_estimate(formatted, self.baseline, self.system)
        engine: EngineName = "cores"
        compute = found.compute_cycles
        energy = baseline_energy(formatted, self.baseline, self.system, found)
        lane_cycles = problem.macs * multiply_add_cycles(self.system)
        on_vector_unit = ceil(lane_cycles / self.system.vector_elements_per_cycle)
        if on_vector_unit < compute:
            engine, compute = "vector", on_vector_unit
            energy = lane_energy(self.system, vector_cycles=lane_cycles)
        buffers = pooled(self.system)
        return ContractionCost(engine, compute, found.operands, found.tile, found.tile, buffers, energy)

    def dequantization(self, operand: BlockOperand, tiles: int) -> DequantizationCost:
        """The vector unit scales each element."""
        lane_cycles = operand.elements * self.system.vector_cycles.cycles_of("mul")
        energy = lane_energy(self.system, vector_cycles=lane_cycles)
        return DequantizationCost(
            "vector", ceil(lane_cycles / self.system.vector_elements_per_cycle), 0, energy
        )

    def tensor_bits(self, tensor: Tensor) -> int:
        """Results have the baseline's width."""
        stored: int = self.baseline.numerics.stored_bits
        return stored if tensor.storage == "result" else PLANE_BITS[tensor.storage]

    def operand_bits(self, operand: BlockOperand) -> int | None:
        """bf16 results are operands as they are; weights and inputs, fp32, are rounded like any operand."""
        if operand.read_back:
            return _bits_of_policy(operand)
        numerics = self.baseline.numerics
        if numerics.format == "bf16" and not operand.of_parameter:
            return None
        groups = ceil(operand.elements / numerics.group_length) if numerics.group_length else 0
        return operand.elements * numerics.operand_bits(operand.pass_) + 8 * groups

    def mantissa_bits(self, operand: BlockOperand) -> int:
        """The width of the pass; of a mask, that of its random bits."""
        return (
            operand.mantissa_bits if operand.read_back else self.baseline.numerics.operand_bits(operand.pass_)
        )

    def group_length(self, operand: BlockOperand) -> int:
        """The same for every operand of a contraction."""
        return operand.group_length if operand.read_back else self.baseline.numerics.group_length


def _bits_of_policy(operand: BlockOperand) -> int:
    return operand.elements * operand.mantissa_bits + 8 * operand.groups


def multiply_add_cycles(system: Target) -> int:
    """Cycles of a lane of the vector unit for one product and its sum."""
    return system.vector_cycles.cycles_of("mul") + system.vector_cycles.cycles_of("add")


def chip_buffer_bytes(system: Target) -> int:
    """All buffers of all cores."""
    per_core = (system.operand_buffer_bytes, system.held_buffer_bytes, system.psum_buffer_bytes)
    return prod((system.cores, sum(per_core)))
