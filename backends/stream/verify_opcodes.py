"""What each opcode asks of its fields and operands (see ``verify``), as ``checked_fields`` gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from flexc.backends.stream.decode import ADDRESSINGS, FORMATS, OPCODE_OF_CODE, DecodedRecord
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import (
    COMPUTE_DIMS,
    DIMS,
    FORMAT_BITS,
    LANES_AND_UNITS,
    MANTISSA_FORMATS,
    OPCODES,
    OUTPUT_LANES,
    PES,
    STATE_ROWS,
    Addressing,
    Format,
    Opcode,
    PeUse,
    Rounding,
    Space,
)
from flexc.backends.stream.isa_functions import FUNCTIONS

Check = Callable[[DecodedRecord], None]
MANTISSAS = frozenset(MANTISSA_FORMATS.values())
FACTORS = MANTISSAS | {Format.F32}
VECTOR_FORMATS = frozenset((Format.F32, Format.I64, Format.I32, Format.I1))
NOT_INDEXED = {"acc": "krs", "a": "o", "a_exponent": "o", "b": "npq", "b_exponent": "npq"}
"""Dimensions of a compute record along which an operand does not move."""
ANY_FORMAT = frozenset(Format)
FP32 = frozenset((Format.F32,))
EXPONENTS = frozenset((Format.E8,))
INT64 = frozenset((Format.I64,))
INDICES = frozenset((Format.I64, Format.I32))
PE_USES = frozenset(PeUse)
ANY_ADDRESSING = frozenset(Addressing)
LOCAL = frozenset((Addressing.LOCAL,))
CHIP = frozenset((Addressing.CHIP,))
ON_CHIP = frozenset((Addressing.LOCAL, Addressing.CHIP))
STRIPED = frozenset((Addressing.CHIP, Addressing.GLOBAL))
IN_DRAM = frozenset((Addressing.GLOBAL,))
ANY_ROUNDING = frozenset(Rounding)
NEAREST_OR_TRUNCATE = frozenset((Rounding.NEAREST, Rounding.TRUNCATE))
OPTIONAL_LAST_SOURCE = frozenset(("layer_norm",))
"""Functions whose last source may be absent."""


def require(good: bool, message: str, operand: str = "") -> None:
    """Raises StreamFault with ``message`` unless ``good``."""
    if not good:
        raise StreamFault(message, operand=operand)


class Operands:
    """The named operands of a record."""

    def __init__(self, record: DecodedRecord) -> None:
        names = OPCODES[OPCODE_OF_CODE[record["opcode"]]].operands
        fields = record["operand"]
        self._place = {name: place for place, name in enumerate(names)}
        self._present: list[bool] = fields["present"]
        self._formats: list[int] = fields["format"]
        self._addressing: list[int] = fields["addressing"]
        self._moves: list[list[bool]] = fields["stride"]

    def present(self, name: str) -> bool:
        """Whether an operand has a slot."""
        return self._present[self._place[name]]

    def format(self, name: str) -> Format:
        """The format of an operand."""
        return FORMATS[self._formats[self._place[name]]]

    def moves(self, name: str, d: int) -> bool:
        """Whether an operand has a stride along a dimension."""
        return self._moves[self._place[name]][d]

    def require(self, name: str, formats: frozenset[Format], addressing: frozenset[Addressing]) -> Format:
        """The format of an operand that has to be there. Raises StreamFault."""
        require(self.present(name), "is missing", name)
        found = self.format(name)
        if found not in formats:
            raise StreamFault(f"is in format {found.name}", operand=name)
        address = ADDRESSINGS[self._addressing[self._place[name]]]
        if address not in addressing:
            raise StreamFault(f"has {address.name.lower()} addresses", operand=name)
        return found


def _check_slot(record: DecodedRecord) -> None:
    names = ("loops", "space", "depth", "size_bytes", "per_core", "keep")
    loops, space, buffers, size, per_core, keep = (int(record[name]) for name in names)
    require(loops == 0, "stands in a loop")
    require(space < len(Space), "a space that does not exist")
    require(record["has_slot"], "the register that stands for none")
    require(buffers >= 1 and size >= 1, "a slot of no bytes")
    require(per_core <= 1 and keep <= 1, "a flag that is neither 0 nor 1")
    if space == Space.DRAM:
        require(buffers == 1, "a ring in DRAM")
        require(not per_core, "the cores have no DRAM of their own")
    else:
        require(not keep, "only DRAM is kept")


def _check_next(record: DecodedRecord) -> None:
    require(record["has_slot"], "the register that stands for none")


def _check_load(record: DecodedRecord) -> None:
    operands = Operands(record)
    src = operands.require("src", ANY_FORMAT, IN_DRAM)
    dst = operands.require("dst", ANY_FORMAT, ON_CHIP)
    _check_copy(src, dst, Format.FP10, Format.F32)
    _check_fill(record, dst)


def _check_copy(src: Format, dst: Format, *converted: Format) -> None:
    """Formats are the same, or those ``converted`` from and to."""
    if src is not dst and (src, dst) != converted:
        raise StreamFault(f"copies {src.name} to {dst.name}")


def _check_fill(record: DecodedRecord, dst: Format) -> None:
    require(record["immediate"][1] == 0, "a second immediate")
    if dst is not Format.F32 and record["immediate"][0] != 0:
        raise StreamFault(f"a fill value for {dst.name}")


def _check_gather(record: DecodedRecord) -> None:
    operands = Operands(record)
    require(record["axis"] < record["used_dims"], "an axis that is not there")
    src = operands.require("src", VECTOR_FORMATS, IN_DRAM)
    dst = operands.require("dst", VECTOR_FORMATS, ON_CHIP)
    operands.require("indices", INDICES, ANY_ADDRESSING)
    _check_copy(src, dst)
    require(record["immediate_int"] >= 1, "gathers from no elements")
    _check_fill(record, dst)


def _check_store(record: DecodedRecord) -> None:
    operands = Operands(record)
    src = operands.require("src", ANY_FORMAT, ON_CHIP)
    dst = operands.require("dst", ANY_FORMAT, IN_DRAM)
    _check_copy(src, dst, Format.F32, Format.FP10)


def _check_compute(record: DecodedRecord) -> None:
    operands = Operands(record)
    dims = len(COMPUTE_DIMS)
    require(record["used_dims"] == dims, f"has other than {dims} dimensions")
    operands.require("acc", FP32, LOCAL)
    a = operands.require("a", FACTORS, LOCAL)
    b = operands.require("b", FACTORS, LOCAL)
    for name, absent in NOT_INDEXED.items():
        for dim in absent:
            require(not operands.moves(name, COMPUTE_DIMS.index(dim)), f"moves along {dim}", name)
    require(record["init_loops"] >> record["loops"] == 0, "init_loops names a loop that is not there")
    if a is Format.F32 or b is Format.F32:
        if a is not b:
            raise StreamFault(f"multiplies {a.name} by {b.name}")
        require(not operands.present("a_exponent"), "fp32 has no exponents apart", "a_exponent")
        require(not operands.present("b_exponent"), "fp32 has no exponents apart", "b_exponent")
        for name in ("a_group", "b_group", "a_axis", "b_axis", "whole_axis", "stream", "lane", "unit", "pe"):
            require(not np.any(record[name]), f"{name} means nothing with fp32 operands")
        return
    for name in ("a_exponent", "b_exponent"):
        operands.require(name, EXPONENTS, LOCAL)
    require(record["a_group"] >= 1 and record["b_group"] >= 1, "a group of no elements")
    require(max(record["whole_axis"]) <= 1, "a flag that is neither 0 nor 1")
    _check_spatial(record, FORMAT_BITS[a], FORMAT_BITS[b])


def _check_spatial(record: DecodedRecord, a_bits: int, b_bits: int) -> None:
    """Lanes, units and PEs of the machine (machine description, "The array")."""
    require(record["stream"] <= 1, "a streamed operand that does not exist")
    streamed, held = (b_bits, a_bits) if record["stream"] else (a_bits, b_bits)
    require(streamed <= held, "the wider operand streams")
    lanes, units = LANES_AND_UNITS[(min(a_bits, b_bits), max(a_bits, b_bits))]
    outputs = range(COMPUTE_DIMS.index("k"))
    lane_dim, lane_count = (int(n) for n in record["lane"])
    unit_dim, unit_count = (int(n) for n in record["unit"])
    require(lane_dim < len(COMPUTE_DIMS) and unit_dim in outputs, "a lane or unit dimension that is none")
    most = min(lanes, OUTPUT_LANES) if lane_dim in outputs else lanes
    require(1 <= lane_count <= most, f"{lane_count} lanes of {most}")
    require(1 <= unit_count <= units, f"{unit_count} units of {units}")
    together = 1
    for use, dim, factor in record["pe"]:
        if factor == 0:
            require(use == 0 and dim == 0, "a use of no PEs")
            continue
        require(factor in (3, PES), f"a factor of {factor} PEs")
        require(use in PE_USES, "a use of PEs that does not exist")
        require(dim < len(COMPUTE_DIMS), "a PE dimension that does not exist")
        require((dim in outputs) == (use == PeUse.OUTPUTS), "PEs reduce outputs, or share what is reduced")
        together *= factor
    require(together <= PES, f"{together} PEs of {PES}")


def _check_convert(record: DecodedRecord) -> None:
    operands = Operands(record)
    _check_rounding(record, ANY_ROUNDING)
    require(record["axis"] < record["used_dims"], "an axis that is not there")
    require(record["a_group"] >= 1, "a group of no elements")
    operands.require("mantissa", MANTISSAS, CHIP)
    operands.require("exponent", EXPONENTS, CHIP)
    operands.require("src", FP32, ON_CHIP)
    require(not operands.present("position"), "has a slot", "position")
    if operands.present("step"):
        require(record["function"] == Rounding.STOCHASTIC, "without stochastic rounding", "step")
        operands.require("step", INT64, IN_DRAM)
        require(not any(operands.moves("step", d) for d in range(DIMS)), "moves", "step")
    if record["function"] != Rounding.STOCHASTIC:
        position = (record["operand"]["offset"][3], *record["operand"]["stride"][3])
        require(not any(position), "means nothing here", "position")
        require(record["seed"] == 0 and record["stream_number"] == 0, "a seed without stochastic rounding")


def _check_rounding(record: DecodedRecord, allowed: frozenset[Rounding]) -> None:
    require(record["function"] in allowed, "a rounding that does not exist")


def _check_vector(record: DecodedRecord) -> None:
    operands = Operands(record)
    require(record["function"] < len(FUNCTIONS), "a function that does not exist")
    spec = FUNCTIONS[int(record["function"])]
    reduced = int(record["reduced_dims"])
    if spec.kind == "elementwise":
        require(reduced == 0, f"{spec.name} reduces nothing")
    else:
        require(1 <= reduced <= record["used_dims"], f"{spec.name} over {reduced} dimensions")
    require(not any(record["immediate"][len(spec.immediates) :]), f"an immediate that {spec.name} has not")
    operands.require("dst", VECTOR_FORMATS, ON_CHIP)
    names = OPCODES[Opcode.VECTOR].operands[1:]
    for place, name in enumerate(names):
        if place >= spec.sources:
            require(not operands.present(name), f"{spec.name} has {spec.sources} sources", name)
        elif place < spec.sources - 1 or spec.name not in OPTIONAL_LAST_SOURCE or operands.present(name):
            operands.require(name, VECTOR_FORMATS, ON_CHIP)


def _check_norm(record: DecodedRecord) -> None:
    operands = Operands(record)
    _check_rounding(record, NEAREST_OR_TRUNCATE)
    require(record["axis"] < record["used_dims"], "an axis that is not there")
    names = OPCODES[Opcode.NORM].operands
    affine = any(operands.present(name) for name in names[4:])
    names = names if affine else names[:4]
    for name in names:
        operands.require(name, FP32, ON_CHIP)
    _check_vectors(record, operands, names[2:])


def _check_vectors(record: DecodedRecord, operands: Operands, names: Sequence[str]) -> None:
    """Operands that move along the channels alone."""
    for name in names:
        for d in range(int(record["used_dims"])):
            require(d == record["axis"] or not operands.moves(name, d), "moves along another axis", name)


def _check_one_box(record: DecodedRecord) -> None:
    require(not record["spread"], "works on a box of the chip, not on one of each core")


def _check_statistics(record: DecodedRecord) -> None:
    operands = Operands(record)
    _check_rounding(record, NEAREST_OR_TRUNCATE)
    axis = int(record["axis"])
    require(record["used_dims"] == axis + 3, "has other dimensions than chunks and rows behind the channels")
    require(record["last_count"] == STATE_ROWS, f"has other than {STATE_ROWS} rows")
    require(record["immediate_int"] >= 1, "chunks of no positions")
    require(record["init_loops"] >> record["loops"] == 0, "init_loops names a loop that is not there")
    operands.require("state", INT64, STRIPED)
    operands.require("x", FP32, ON_CHIP)
    require(not operands.present("position"), "has a slot", "position")
    for d in range(axis):
        require(not operands.moves("state", d), "moves along positions", "state")
    for d in (axis + 1, axis + 2):
        require(not operands.moves("x", d), "moves along the state", "x")
    for d in range(axis, axis + 3):
        require(not operands.moves("position", d), "moves along other than positions", "position")


def _check_summarize(record: DecodedRecord) -> None:
    operands = Operands(record)
    _check_one_box(record)
    _check_rounding(record, NEAREST_OR_TRUNCATE)
    require(record["used_dims"] == 3, "has other than 3 dimensions")
    require(record["axis"] == 1, "channels are dimension 1")
    require(record["last_count"] == STATE_ROWS, f"has other than {STATE_ROWS} rows")
    require(record["immediate_int"] >= 1, "of no positions")
    operands.require("state", INT64, ON_CHIP)
    vectors = [name for name in OPCODES[Opcode.SUMMARIZE].operands if name != "state"]
    for name in vectors:
        operands.require(name, FP32, ON_CHIP)
    _check_vectors(record, operands, vectors)


def _check_constants(record: DecodedRecord) -> None:
    operands = Operands(record)
    _check_one_box(record)
    _check_rounding(record, NEAREST_OR_TRUNCATE)
    require(record["axis"] < record["used_dims"], "an axis that is not there")
    require(record["immediate"][1] == 0, "a second immediate")
    names = OPCODES[Opcode.CONSTANTS].operands
    for name in names:
        operands.require(name, FP32, ON_CHIP)
    _check_vectors(record, operands, names)


def _check_narrow(record: DecodedRecord) -> None:
    operands = Operands(record)
    _check_one_box(record)
    _check_rounding(record, NEAREST_OR_TRUNCATE)
    require(record["axis"] < record["used_dims"], "an axis that is not there")
    for name in ("dst", "x"):
        operands.require(name, FP32, ON_CHIP)


def _check_extrema(record: DecodedRecord) -> None:
    operands = Operands(record)
    _check_one_box(record)
    require(record["used_dims"] == 3, "has other than 3 dimensions")
    require(record["axis"] == 2, "channels are dimension 2")
    require(record["immediate_int"] >= 1, "chunks of no positions")
    for name in ("dst", "x", "share"):
        operands.require(name, FP32, ON_CHIP)
    for name in ("argmax", "argmin"):
        operands.require(name, INT64, ON_CHIP)
        require(not operands.moves(name, 1), "moves along positions", name)
    _check_vectors(record, operands, ("share",))


def _check_scatter(record: DecodedRecord) -> None:
    operands = Operands(record)
    _check_one_box(record)
    require(record["axis"] < record["used_dims"], "an axis that is not there")
    for name in ("dst", "src"):
        operands.require(name, FP32, ON_CHIP)
    operands.require("indices", INDICES, ON_CHIP)
    require(record["immediate_int"] >= 1, "scatters to no elements")


CHECKS: dict[Opcode, Check] = {
    Opcode.SLOT: _check_slot,
    Opcode.NEXT: _check_next,
    Opcode.LOAD: _check_load,
    Opcode.GATHER: _check_gather,
    Opcode.STORE: _check_store,
    Opcode.COMPUTE: _check_compute,
    Opcode.CONVERT: _check_convert,
    Opcode.VECTOR: _check_vector,
    Opcode.NORM: _check_norm,
    Opcode.STATISTICS: _check_statistics,
    Opcode.SUMMARIZE: _check_summarize,
    Opcode.NARROW: _check_narrow,
    Opcode.CONSTANTS: _check_constants,
    Opcode.EXTREMA: _check_extrema,
    Opcode.SCATTER: _check_scatter,
}
"""Halt, loop and end have no fields but those that ``loops`` checks."""
