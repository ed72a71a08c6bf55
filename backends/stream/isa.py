"""The instruction set as data: one fixed-size record an instruction, its fields, opcodes and functions.

docs/isa.md is generated from these tables; the encoder, assembler and both simulators read them too.

**Boxes.** A record works on a box of up to eight dimensions. Element i of dimension d has the coordinate
``start[d] + sum(loop[d][l] * counter[l]) + sum(core[d][a] * core_index[a]) + step[d] * i``, where the
counters are those of the enclosing loops (level 0 is the outermost) and the core indices run over the core
grid; a step other than 1 is for DMA alone. A coordinate is inside while ``0 <= coordinate < limit[d]``.
Elements outside are filled with zero (the immediate, for fp32) by a load, and left alone by every other
opcode.

**Operands.** The address of an element, in bits from the start of the operand's slot, is
``offset + sum(stride[d] * index[d])``. The index is the coordinate (``global``: DRAM), the position in the
core's own box (``local``: a slot that every core has), or the position in the box of all cores together
(``chip``: a slot striped over the cores; coordinate minus the start common to the cores, in steps).

**Slots.** A slot is a range of one memory, declared by ``slot``: ``depth`` buffers of ``size`` bytes one
after another. ``next`` moves the slot to its next buffer, which then holds nothing. Reading what was not
written since, or beyond the slot, is a fault. Buffers of different cores at one offset are one ``local``
slot. A slot that is striped over the cores takes ceil(size / cores) bytes of each core's buffer for each of
its buffers.

**Packing.** Elements of less than a byte, or of 10 bits, lie one after the other from the low bits of a
byte to the high, mantissas in two's complement. An operand of such a format has one dimension whose stride
is one element; it, with the dimensions that go on without a gap where it ends inside a byte, starts on a
byte. The other strides are whole bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

DIMS = 8
LOOP_LEVELS = 6
CORE_AXES = 3
OPERANDS = 6
IMMEDIATES = 2
NO_SLOT = 0xFFFF
NO_LIMIT = 0x7FFFFFFF


class Space(IntEnum):
    """The memories. The last three are a core's own."""

    DRAM = 0
    OPERAND = 1
    HELD = 2
    PSUM = 3


class Format(IntEnum):
    """How the elements of an operand are stored."""

    F32 = 0
    M4 = 1
    M8 = 2
    M16 = 3
    E8 = 4
    FP10 = 5
    I64 = 6
    I32 = 7
    I1 = 8


FORMAT_BITS: dict[Format, int] = {
    Format.F32: 32,
    Format.M4: 4,
    Format.M8: 8,
    Format.M16: 16,
    Format.E8: 8,
    Format.FP10: 10,
    Format.I64: 64,
    Format.I32: 32,
    Format.I1: 8,
}

STATE_ROWS = 5
"""Rows of a LightNorm state: sum, maximum, minimum, and the positions of the latter two."""

COMPUTE_DIMS = "gnpqokrs"
"""The dimensions of a compute record, in order; the first five make outputs."""

LANES_AND_UNITS: dict[tuple[int, int], tuple[int, int]] = {
    (4, 4): (24, 4),
    (4, 8): (24, 2),
    (8, 8): (12, 2),
    (4, 16): (24, 1),
    (8, 16): (12, 1),
    (16, 16): (6, 1),
}
"""Lanes and units of a PE for the mantissa bits of its operands, the narrower first."""

PES = 9
OUTPUT_LANES = 4
"""Lanes of a PE that may make different outputs: its fp32 adders."""

ACCUMULATOR_BITS = 40
"""An integer sum of a segment fits them with its sign."""

MANTISSA_FORMATS: dict[int, Format] = {4: Format.M4, 8: Format.M8, 16: Format.M16}


class Addressing(IntEnum):
    """Which index an operand's strides multiply."""

    LOCAL = 0
    CHIP = 1
    GLOBAL = 2


class PeUse(IntEnum):
    """What a factor of the PEs does (timing only: the sum is the same)."""

    REDUCE = 0
    CHAIN = 1
    OUTPUTS = 2


Engine: TypeAlias = Literal["control", "dma_in", "dma_out", "cores", "converter", "vector", "lightnorm"]
ENGINES: tuple[Engine, ...] = ("dma_in", "dma_out", "cores", "converter", "vector", "lightnorm")


class Opcode(IntEnum):
    """Operations; see ``OPCODES``."""

    HALT = 0
    SLOT = 1
    NEXT = 2
    LOOP = 3
    END = 4
    LOAD = 5
    GATHER = 6
    STORE = 7
    COMPUTE = 8
    CONVERT = 9
    VECTOR = 10
    NORM = 11
    STATISTICS = 12
    SUMMARIZE = 13
    NARROW = 14
    EXTREMA = 15
    SCATTER = 16
    CONSTANTS = 17


@dataclass(frozen=True)
class OpcodeSpec:
    """What an opcode does, where it runs, what its operands are, and which fields mean something to it.

    The other fields of a record are zero, operands in the record beyond the named ones have no slot, and
    dimensions from ``used_dims`` on are zero: anything else is a fault.
    """

    engine: Engine
    operands: tuple[str, ...]
    meaning: str
    fields: tuple[str, ...] = ()


OPCODES: dict[Opcode, OpcodeSpec] = {
    Opcode.HALT: OpcodeSpec("control", (), "The end of the program: the last record, and it alone."),
    Opcode.SLOT: OpcodeSpec(
        "control",
        (),
        "Declares slot register `slot`: `depth` buffers of `size_bytes` from `address_bytes` on in `space`, "
        "for each core where `per_core` is 1. Ends the slots of that space that it overlaps. Holds nothing, "
        "unless `keep` is 1 (DRAM that a symbol or an earlier slot filled). Stands outside of loops.",
        ("slot", "space", "per_core", "keep", "depth", "address_bytes", "size_bytes"),
    ),
    Opcode.NEXT: OpcodeSpec(
        "control", (), "Moves slot register `slot` to its next buffer, which holds nothing.", ("slot",)
    ),
    Opcode.LOOP: OpcodeSpec(
        "control",
        (),
        "Repeats the records up to the matching `end` `count` times (at least once).",
        ("count",),
    ),
    Opcode.END: OpcodeSpec("control", (), "Closes the innermost loop."),
    Opcode.LOAD: OpcodeSpec(
        "dma_in",
        ("dst", "src"),
        "Copies a box from DRAM on chip; outside elements become `immediate[0]`. Both formats are equal, or "
        "`src` is fp10 and `dst` fp32.",
        ("used_dims", "core_grid", "immediate"),
    ),
    Opcode.GATHER: OpcodeSpec(
        "dma_in",
        ("dst", "src", "indices"),
        "As load, but the coordinate of dimension `axis` in `src` is read from `indices` (negative: from the "
        "end, `immediate_int`); an index out of range is a fault.",
        ("used_dims", "core_grid", "immediate", "axis", "immediate_int"),
    ),
    Opcode.STORE: OpcodeSpec(
        "dma_out",
        ("dst", "src"),
        "Copies the inside of a box to DRAM. Both formats are equal, or `src` is fp32 and `dst` fp10, which "
        "must hold every value exactly.",
        ("used_dims", "core_grid"),
    ),
    Opcode.COMPUTE: OpcodeSpec(
        "cores",
        ("acc", "a", "a_exponent", "b", "b_exponent"),
        "One buffer tile of a contraction over dimensions g n p q o (outputs) and k r s (reduced), `a` in "
        "the operand buffer, `b` in the held buffer, `acc` in the psum buffer: segments in the order k, r, "
        "s; each an exact integer sum, rounded once to fp32 and added to `acc`. `acc` starts from +0 where "
        "every loop of `init_loops` is in its first iteration. A segment ends where the group axis of a or "
        "of b crosses a multiple of its group length; the exponent's stride along k (along g, where the "
        "group axis is g alone) is the distance from group to group, counted from the group of the box's "
        "first element. With fp32 operands (no exponents), a plain fp32 product on the vector unit.",
        (
            "used_dims",
            "core_grid",
            "a_group",
            "b_group",
            "a_axis",
            "b_axis",
            "whole_axis",
            "init_loops",
            "stream",
            "lane",
            "unit",
            "pe",
        ),
    ),
    Opcode.CONVERT: OpcodeSpec(
        "converter",
        ("mantissa", "exponent", "src", "position", "step"),
        "Quantizes fp32 in groups of `a_group` along dimension `axis`, over all cores' boxes together. The "
        "box must start on a group and end on one or at the limit; the exponent's stride along `axis` is the "
        "distance from group to group. `position` has no slot: its offset and strides, in elements, give the "
        "flat index of a coordinate, for stochastic rounding; where there is a `step`, an i64 in DRAM, the "
        "stream is 4096 times that plus `stream_number`.",
        ("function", "used_dims", "axis", "core_grid", "a_group", "seed", "stream_number"),
    ),
    Opcode.VECTOR: OpcodeSpec(
        "vector",
        ("dst", "x", "y", "z", "u", "v"),
        "`function` of the sources, elementwise or over the last `reduced_dims` dimensions.",
        ("function", "used_dims", "reduced_dims", "core_grid", "immediate"),
    ),
    Opcode.NORM: OpcodeSpec(
        "lightnorm",
        ("dst", "x", "mean", "scale", "gamma_q", "beta"),
        "LightNorm with given statistics, channels along dimension `axis` (boxes start on a multiple of 4). "
        "Without `gamma_q` and `beta`, the normalized value alone.",
        ("function", "used_dims", "axis", "core_grid"),
    ),
    Opcode.STATISTICS: OpcodeSpec(
        "lightnorm",
        ("state", "x", "position"),
        "What LightNorm's forward pass learns of `x`, over all cores' boxes together. Dimensions before "
        "`axis` make positions, `axis` is channels; behind it are chunks and the five rows of `state`: sum, "
        "maximum, minimum (integers in units of 2^-18) and the first positions of the latter two. "
        "`position` has no slot: its offset and strides, in elements, give the position of an element; over "
        "`immediate_int` that is its chunk. `state` is made anew, for all chunks of the box, where every "
        "loop of `init_loops` is in its first iteration, and otherwise joined. Its slot is striped; with "
        "global addresses channels keep their places in it from tile to tile.",
        ("function", "used_dims", "axis", "core_grid", "immediate_int", "init_loops"),
    ),
    Opcode.SUMMARIZE: OpcodeSpec(
        "lightnorm",
        ("mean", "range", "scale", "gamma_q", "state", "gamma"),
        "LightNorm's statistics of the batch over dimensions chunk, channel and the five rows of `state`: of "
        "`immediate_int` positions, range constant `immediate[0]` and eps `immediate[1]`; and gamma in ten "
        "bits.",
        ("function", "used_dims", "axis", "core_grid", "immediate", "immediate_int"),
    ),
    Opcode.NARROW: OpcodeSpec(
        "lightnorm",
        ("dst", "x"),
        "Rounds gradients as LightNorm's backward pass does, channels along dimension `axis`.",
        ("function", "used_dims", "axis", "core_grid"),
    ),
    Opcode.EXTREMA: OpcodeSpec(
        "lightnorm",
        ("dst", "x", "argmax", "argmin", "share"),
        "`x` over dimensions chunk, position and channel, less `share` at position `argmax` of its chunk, "
        "then `share` more at `argmin`; positions are counted as by `statistics`.",
        ("used_dims", "axis", "core_grid", "immediate_int"),
    ),
    Opcode.CONSTANTS: OpcodeSpec(
        "lightnorm",
        ("mean", "scale", "gamma_q", "gamma", "given_mean", "variance"),
        "What LightNorm normalizes with, from given statistics and eps `immediate[0]`, channels along "
        "dimension `axis`.",
        ("function", "used_dims", "axis", "core_grid", "immediate"),
    ),
    Opcode.SCATTER: OpcodeSpec(
        "vector",
        ("dst", "src", "indices"),
        "Adds each element of `src` to the element of `dst` whose coordinate along dimension `axis` is read "
        "from `indices` (negative: from the end, `immediate_int`), one after the other in row-major order; "
        "an index out of range is a fault.",
        ("used_dims", "axis", "core_grid", "immediate_int"),
    ),
}


class Rounding(IntEnum):
    """`function` of a convert or norm record."""

    NEAREST = 0
    TRUNCATE = 1
    STOCHASTIC = 2


@dataclass(frozen=True)
class FieldSpec:
    """One field of a record."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    unit: str
    meaning: str


DIM_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec("count", "<u4", (), "elements", "Extent of the box of one core."),
    FieldSpec("start", "<i4", (), "coordinate", "First coordinate, before loops and cores."),
    FieldSpec("step", "<i4", (), "coordinate", "Distance between elements."),
    FieldSpec("limit", "<i4", (), "coordinate", f"First coordinate outside ({NO_LIMIT}: none)."),
    FieldSpec("loop", "<i4", (LOOP_LEVELS,), "coordinate", "Added for each iteration of a loop level."),
    FieldSpec("core", "<i4", (CORE_AXES,), "coordinate", "Added for each step along a core axis."),
)

OPERAND_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec("slot", "<u2", (), "register", f"Slot register ({NO_SLOT}: no operand)."),
    FieldSpec("format", "u1", (), "Format", "Storage format of the elements."),
    FieldSpec("addressing", "u1", (), "Addressing", "Index that the strides multiply."),
    FieldSpec("offset", "<i8", (), "bits", "Address of index zero in the slot."),
    FieldSpec("stride", "<i8", (DIMS,), "bits", "Address difference for each dimension."),
)

RECORD_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec("opcode", "u1", (), "Opcode", "What to do."),
    FieldSpec("function", "u1", (), "code", "Vector function, or rounding."),
    FieldSpec("used_dims", "u1", (), "dimensions", "Dimensions in use; the others have no meaning."),
    FieldSpec("reduced_dims", "u1", (), "dimensions", "Trailing dimensions that a row function reduces."),
    FieldSpec("axis", "u1", (), "dimension", "Grouped, gathered or channel dimension."),
    FieldSpec("core_grid", "u1", (CORE_AXES,), "cores", "Cores along each core axis, outermost first."),
    FieldSpec("immediate", "<f4", (IMMEDIATES,), "fp32", "Immediates of the function, or a load's fill."),
    FieldSpec("immediate_int", "<i8", (), "integer", "Extent of the gathered dimension; positions."),
    FieldSpec("count", "<u4", (), "iterations", "Trip count of a loop."),
    FieldSpec("slot", "<u2", (), "register", "Slot register of a slot or next record."),
    FieldSpec("space", "u1", (), "Space", "Memory of a slot."),
    FieldSpec("per_core", "u1", (), "flag", "Each core has the slot at this address of its own buffer."),
    FieldSpec("keep", "u1", (), "flag", "The slot holds what was there."),
    FieldSpec("depth", "u1", (), "buffers", "Buffers of a slot."),
    FieldSpec("address_bytes", "<u8", (), "bytes", "Start of a slot (striped: of each core's share)."),
    FieldSpec("size_bytes", "<u8", (), "bytes", "Size of one buffer of a slot (striped: over all cores)."),
    FieldSpec("a_group", "<u4", (), "elements", "Group length of operand a, or of a convert."),
    FieldSpec("b_group", "<u4", (), "elements", "Group length of operand b."),
    FieldSpec("a_axis", "<u4", (2,), "weight", "Group axis of a: coordinate = a_axis[0]*g + a_axis[1]*k."),
    FieldSpec("b_axis", "<u4", (2,), "weight", "Group axis of b: coordinate = b_axis[0]*g + b_axis[1]*k."),
    FieldSpec("whole_axis", "u1", (2,), "flag", "The exponents of a (b) start at group 0 of the tensor."),
    FieldSpec("init_loops", "u1", (), "bits", "Loop levels that must be in iteration 0 to start from +0."),
    FieldSpec("stream", "u1", (), "operand", "Operand that streams: 0 is a, 1 is b (timing)."),
    FieldSpec("lane", "u1", (2,), "dimension, lanes", "Dimension and number of the lanes (timing)."),
    FieldSpec("unit", "u1", (2,), "dimension, units", "Dimension and number of the units (timing)."),
    FieldSpec("pe", "u1", (2, 3), "PeUse, dimension, PEs", "Uses of the PEs (timing); factor 0: none."),
    FieldSpec("seed", "<u4", (), "integer", "Seed of stochastic rounding."),
    FieldSpec("stream_number", "<u4", (), "integer", "Stream of stochastic rounding."),
)


def _dtype(fields: tuple[FieldSpec, ...]) -> np.dtype[np.void]:
    return np.dtype([(field.name, field.dtype, field.shape) for field in fields])


DIM = _dtype(DIM_FIELDS)
OPERAND = _dtype(OPERAND_FIELDS)
RECORD = np.dtype([*_dtype(RECORD_FIELDS).descr, ("dim", DIM, (DIMS,)), ("operand", OPERAND, (OPERANDS,))])


def blank_records(count: int) -> NDArray[Any]:
    """``count`` records in which nothing is set: every field zero, no operand in a slot."""
    records = np.zeros(count, RECORD)
    records["operand"]["slot"] = NO_SLOT
    return records
