"""The tables of a target: cycles of vector functions, and energies with their sources.

A field is declared by :func:`setting`: what it means and what values it may have, from which the loader
checks a target file and ``flexc targets`` prints it. A field without it is a record of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def setting(meaning: str, minimum: float = 0, maximum: float = 0) -> Any:
    """A field of a target: what it means, and the least and greatest value a number may have."""
    return field(metadata={"meaning": meaning, "minimum": minimum, "maximum": maximum})


@dataclass(frozen=True)
class VectorCycles:
    """Cycles an element of one lane of the vector unit spends in each function."""

    copy: int = setting("Copy an element.", 1, 1024)
    add: int = setting("Add two elements.", 1, 1024)
    sub: int = setting("Subtract two elements.", 1, 1024)
    mul: int = setting("Multiply two elements.", 1, 1024)
    div: int = setting("Divide two elements.", 1, 1024)
    power: int = setting("Raise to a power (logarithm, product, exponential).", 1, 1024)
    minimum: int = setting("Lesser of two elements.", 1, 1024)
    maximum: int = setting("Greater of two elements.", 1, 1024)
    equal: int = setting("Compare for equality.", 1, 1024)
    less: int = setting("Compare for order.", 1, 1024)
    greater: int = setting("Compare for order.", 1, 1024)
    where: int = setting("Select one of two elements.", 1, 1024)
    relu: int = setting("Rectify.", 1, 1024)
    clip: int = setting("Clip to two bounds.", 1, 1024)
    leaky_relu: int = setting("Rectify with a slope.", 1, 1024)
    hard_sigmoid: int = setting("Piecewise linear sigmoid.", 1, 1024)
    hard_swish: int = setting("x times its piecewise linear sigmoid.", 1, 1024)
    sigmoid: int = setting("Logistic function.", 1, 1024)
    tanh: int = setting("Hyperbolic tangent.", 1, 1024)
    erf: int = setting("Error function.", 1, 1024)
    gelu: int = setting("GELU by the error function.", 1, 1024)
    gelu_tanh: int = setting("GELU by tanh.", 1, 1024)
    exp: int = setting("Exponential.", 1, 1024)
    log: int = setting("Natural logarithm.", 1, 1024)
    sqrt: int = setting("Square root.", 1, 1024)
    neg: int = setting("Negate.", 1, 1024)
    absolute: int = setting("Magnitude.", 1, 1024)
    reciprocal: int = setting("Reciprocal.", 1, 1024)
    floor: int = setting("Round down.", 1, 1024)
    cast: int = setting("Convert the element type.", 1, 1024)
    batch_norm: int = setting("Normalize by given statistics in fp32.", 1, 1024)
    softmax: int = setting("Softmax over rows, cycles an element over its three passes.", 1, 1024)
    log_softmax: int = setting("Logarithm of softmax over rows, all passes.", 1, 1024)
    layer_norm: int = setting("LayerNorm over rows, all passes.", 1, 1024)
    reduce_sum: int = setting("One element into a lane sum.", 1, 1024)
    reduce_mean: int = setting("One element into a lane sum; the division is shared.", 1, 1024)
    reduce_max: int = setting("One element into a maximum.", 1, 1024)
    window_max: int = setting("One element of a window into a maximum.", 1, 1024)
    window_sum: int = setting("One element of a window into a sum.", 1, 1024)
    window_add: int = setting("One element of a window into a sum that goes on.", 1, 1024)
    window_argmax: int = setting("One element of a window into the place of its maximum.", 1, 1024)
    add_from_tap: int = setting("Compare, select, add.", 1, 1024)
    reduce_max_grad: int = setting("One element of a row, over its two passes.", 1, 1024)

    def cycles_of(self, function: str) -> int:
        """Cycles an element of the named vector function; KeyError for a function the unit has not."""
        if function not in type(self).__dataclass_fields__:
            raise KeyError(function)
        cycles: int = getattr(self, function)
        return cycles


@dataclass(frozen=True)
class SourcedValue:
    """One number, and where it comes from."""

    value: float = setting("The number, in the unit that ends its name.", 0.0, 1e6)
    source: str = setting("Publication, node and voltage, or how it was derived.")


@dataclass(frozen=True)
class EnergyTable:
    """Energy of operations, pJ."""

    int8_add_pj: SourcedValue
    """Add two 8-bit integers."""
    int32_add_pj: SourcedValue
    """Add two 32-bit integers."""
    fp16_add_pj: SourcedValue
    """Add in fp16."""
    fp32_add_pj: SourcedValue
    """Add in fp32."""
    int8_multiply_pj: SourcedValue
    """Multiply 8-bit integers."""
    int32_multiply_pj: SourcedValue
    """Multiply 32-bit integers."""
    fp16_multiply_pj: SourcedValue
    """Multiply in fp16."""
    fp32_multiply_pj: SourcedValue
    """Multiply in fp32."""
    integer_multiply_pj_per_bit_squared: SourcedValue
    """Integer multiply, for each product of a bit of either operand."""
    composed_multiply_factor: SourcedValue
    """Energy of a multiplier composed of 4-bit pieces over a plain one of the full width."""
    sram_read_64_bits_8_kib_pj: SourcedValue
    """Read 64 bits of a buffer of 8 KiB."""
    sram_read_64_bits_32_kib_pj: SourcedValue
    """Read 64 bits of a buffer of 32 KiB."""
    sram_read_64_bits_1_mib_pj: SourcedValue
    """Read 64 bits of a buffer of 1 MiB."""
    register_pj_per_bit: SourcedValue
    """Clock one bit into a register of the array."""
    converter_element_pj: SourcedValue
    """Quantize one element."""
    vector_lane_cycle_pj: SourcedValue
    """One cycle of one lane of the vector unit."""
    lightnorm_element_pj: SourcedValue
    """One element through the LightNorm unit, once."""


@dataclass(frozen=True)
class AreaTable:
    """Areas of parts of a datapath, um2."""

    int8_add_um2: SourcedValue
    """Add two 8-bit integers."""
    int32_add_um2: SourcedValue
    """Add two 32-bit integers."""
    fp16_add_um2: SourcedValue
    """Add in fp16."""
    fp32_add_um2: SourcedValue
    """Add in fp32."""
    int8_multiply_um2: SourcedValue
    """Multiply 8-bit integers."""
    int32_multiply_um2: SourcedValue
    """Multiply 32-bit integers."""
    fp16_multiply_um2: SourcedValue
    """Multiply in fp16."""
    fp32_multiply_um2: SourcedValue
    """Multiply in fp32."""
    integer_multiply_um2_per_bit_squared: SourcedValue
    """Integer multiply, for each product of a bit of either operand."""
    integer_add_um2_per_bit: SourcedValue
    """Integer add, for each bit."""
    composed_multiply_factor: SourcedValue
    """Area of a multiplier composed of 4-bit pieces over a plain one of the full width."""
    register_um2_per_bit: SourcedValue
    """One bit of a register."""
