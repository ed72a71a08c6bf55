"""The tables of the instruction set are total, and the document made from them is current."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexc.backends.stream import isa
from flexc.backends.stream.isa_docs import isa_markdown
from flexc.backends.stream.isa_functions import FUNCTION_CODES, FUNCTIONS, FunctionSpec
from flexc.backends.stream.operand_roles import WRITTEN
from flexc.backends.stream.simulate import INSTRUCTIONS
from flexc.backends.stream.vector_functions import VECTOR_FUNCTIONS
from flexc.backends.stream.verify_opcodes import CHECKS
from flexc.target import load_target

ISA_DOCUMENT = Path(__file__).parents[2] / "docs" / "isa.md"
STRUCTURE = {isa.Opcode.HALT, isa.Opcode.LOOP, isa.Opcode.END}


def test_every_opcode_is_specified_checked_and_executed() -> None:
    assert set(isa.OPCODES) == set(isa.Opcode)
    assert set(CHECKS) == set(isa.Opcode) - STRUCTURE
    assert set(INSTRUCTIONS) == set(isa.Opcode) - STRUCTURE


def test_every_opcode_with_an_engine_writes_something() -> None:
    with_engine = {opcode for opcode, spec in isa.OPCODES.items() if spec.engine != "control"}
    assert set(WRITTEN) == with_engine
    for opcode, names in WRITTEN.items():
        assert set(names) <= set(isa.OPCODES[opcode].operands)


def test_opcodes_use_fields_that_exist_and_all_fields_are_used() -> None:
    names = {field.name for field in isa.RECORD_FIELDS} - {"opcode"}
    assert {name for spec in isa.OPCODES.values() for name in spec.fields} == names
    assert max(len(spec.operands) for spec in isa.OPCODES.values()) == isa.OPERANDS


def test_records_have_no_padding() -> None:
    fields = isa.RECORD.fields
    assert fields is not None
    assert isa.RECORD.itemsize == sum(dtype.itemsize for dtype, *_ in fields.values())


@pytest.mark.parametrize("spec", FUNCTIONS, ids=lambda spec: spec.name)
def test_every_function_is_computed_and_has_cycles(spec: FunctionSpec) -> None:
    assert spec.name in VECTOR_FUNCTIONS
    assert load_target("flexblock").vector_cycles.cycles_of(spec.name) >= 1


def test_no_function_is_computed_that_has_no_code() -> None:
    assert set(VECTOR_FUNCTIONS) == set(FUNCTION_CODES)


def test_lanes_and_units_are_those_of_the_targets() -> None:
    target = load_target("flexblock")
    for (a_bits, b_bits), (lanes, units) in isa.LANES_AND_UNITS.items():
        shape = target.pe_shape(a_bits, b_bits)
        assert (shape.lanes, shape.units) == (lanes, units)
    assert target.pes_per_core == isa.PES
    assert target.pe_fp32_adders == isa.OUTPUT_LANES
    assert target.accumulator_bits == isa.ACCUMULATOR_BITS


def test_blank_records_have_no_operand() -> None:
    records = isa.blank_records(2)
    assert np.all(records["operand"]["slot"] == isa.NO_SLOT)
    records["operand"]["slot"] = 0
    assert not records.tobytes().strip(b"\0")


def test_the_document_is_current() -> None:
    command = "python -m flexc.backends.stream.isa_docs > docs/isa.md"
    assert ISA_DOCUMENT.read_text(encoding="utf-8") == isa_markdown(), command
