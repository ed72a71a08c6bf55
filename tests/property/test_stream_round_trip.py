"""Binary and listing turn into one another without loss, whatever the records and names are."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexc.backends.stream.assemble import assemble
from flexc.backends.stream.encode import decode, encode
from flexc.backends.stream.formats import pack, unpack
from flexc.backends.stream.isa import (
    DIM_FIELDS,
    IMMEDIATES,
    OPCODES,
    OPERAND_FIELDS,
    RECORD,
    RECORD_FIELDS,
    FieldSpec,
    Format,
    Opcode,
    Rounding,
    Space,
    blank_records,
)
from flexc.backends.stream.isa_functions import FUNCTIONS
from flexc.backends.stream.listing import disassemble, initial_bytes
from flexc.backends.stream.program import (
    SYMBOL_KINDS,
    GroupRange,
    InitialData,
    MachineLimits,
    Stream,
    Symbol,
    SymbolPlane,
)
from flexc.backends.stream.record_text import parse_record, print_record
from flexc.numerics import unpack_fp10

natural = st.integers(0, 2**40)
LIMITS = {"function": len(FUNCTIONS), "space": len(Space), "format": len(Format), "addressing": 3}
ROUNDED = (
    Opcode.CONVERT,
    Opcode.NORM,
    Opcode.STATISTICS,
    Opcode.SUMMARIZE,
    Opcode.NARROW,
    Opcode.CONSTANTS,
)


@st.composite
def field_value(draw: st.DrawFn, field: FieldSpec, opcode: Opcode) -> Any:
    """Any value of a field that its text can say: often zero, enums in range."""
    dtype = np.dtype(field.dtype)
    if dtype.kind == "f":
        entry: st.SearchStrategy[float] = st.floats(width=32, allow_nan=False)
    else:
        information = np.iinfo(dtype)
        highest = LIMITS.get(field.name, int(information.max) + 1) - 1
        if field.name == "function" and opcode in ROUNDED:
            highest = len(Rounding) - 1
        if field.name in ("lane", "unit", "pe"):
            highest = 2
        entry = st.one_of(st.just(0), st.integers(max(int(information.min), -(2**62)), highest))
    if not field.shape:
        return draw(entry)
    size = int(np.prod(field.shape))
    return np.array(draw(st.lists(entry, min_size=size, max_size=size)), dtype).reshape(field.shape)


@st.composite
def a_record(draw: st.DrawFn) -> Any:
    """A record in which all that means something to its opcode may have any value."""
    opcode = draw(st.sampled_from(Opcode))
    spec = OPCODES[opcode]
    record = blank_records(1)[0]
    record["opcode"] = opcode
    for field in RECORD_FIELDS:
        if field.name in spec.fields and field.name != "used_dims":
            record[field.name] = draw(field_value(field, opcode))
    dims = draw(st.integers(0, 8)) if "used_dims" in spec.fields else 0
    record["used_dims"] = dims
    for d in range(dims):
        for field in DIM_FIELDS:
            record["dim"][d][field.name] = draw(field_value(field, opcode))
    for place in range(len(spec.operands)):
        if draw(st.booleans()):
            for field in OPERAND_FIELDS:
                record["operand"][place][field.name] = draw(field_value(field, opcode))
            record["operand"][place]["stride"][dims:] = 0
    return record


@given(a_record())
def test_records_that_their_opcode_allows_are_said_in_words(record: Any) -> None:
    lines = print_record(record)
    assert not lines[0].startswith("raw")
    assert parse_record(lines).tobytes() == record.tobytes()


@given(st.binary(min_size=RECORD.itemsize, max_size=RECORD.itemsize))
def test_any_bytes_are_a_record_in_text(content: bytes) -> None:
    record = np.frombuffer(content, RECORD)[0]
    assert parse_record(print_record(record)).tobytes() == content


@st.composite
def a_symbol(draw: st.DrawFn) -> Symbol:
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=4)))
    block = draw(st.booleans())
    planes = tuple(
        SymbolPlane(
            draw(st.sampled_from(Format)),
            draw(natural),
            draw(natural),
            shape,
            tuple(draw(st.lists(st.integers(-(2**40), 2**40), min_size=len(shape), max_size=len(shape)))),
        )
        for _ in range(1 + block)
    )
    tile, bits = (shape, draw(st.integers(4, 16))) if block else (None, None)
    kind = draw(st.sampled_from(SYMBOL_KINDS))
    return Symbol(draw(st.text()), kind, shape, planes, draw(natural), tile, bits)


@st.composite
def a_stream(draw: st.DrawFn) -> Stream:
    records: NDArray[Any] = np.array(draw(st.lists(a_record(), max_size=4)), RECORD)
    initial = tuple(
        InitialData(draw(natural), np.frombuffer(content, np.uint8))
        for content in draw(st.lists(st.binary(max_size=9), max_size=3))
    )
    groups = tuple(
        GroupRange(index, draw(st.text()), draw(natural), draw(natural))
        for index in range(draw(st.integers(0, 2)))
    )
    machine = MachineLimits(draw(st.text()), *(draw(natural) for _ in range(5)))
    return Stream(records, tuple(draw(st.lists(a_symbol(), max_size=3))), initial, machine, groups)


@settings(max_examples=50)
@given(a_stream())
def test_streams_round_trip(stream: Stream) -> None:
    content = encode(stream)
    assert encode(decode(content)) == content
    with TemporaryDirectory() as name:
        (Path(name) / "stream.data").write_bytes(initial_bytes(stream))
        assert encode(assemble(disassemble(decode(content)), Path(name))) == content


@given(st.lists(st.integers(-8, 7), min_size=1, max_size=12))
def test_nibbles_are_packed_from_the_low_one_on(values: list[int]) -> None:
    packed = pack(np.array(values, np.int8), Format.M4)
    assert packed.size == -(-len(values) // 2)
    bits = sum((value & 15) << 4 * place for place, value in enumerate(values))
    assert int.from_bytes(packed.tobytes(), "little") == bits
    assert unpack(packed, len(values), Format.M4).tolist() == values


FP10_CODES = [0, *range(1 << 4, 31 << 4), *range(33 << 4, 63 << 4)]


@given(st.lists(st.sampled_from(FP10_CODES), min_size=1, max_size=9))
def test_fp10_codes_are_packed_from_the_low_bits_on(codes: list[int]) -> None:
    values = unpack_fp10(np.array(codes, np.uint16))
    packed = pack(values, Format.FP10)
    bits = sum(code << 10 * place for place, code in enumerate(codes))
    assert int.from_bytes(packed.tobytes(), "little") == bits
    assert unpack(packed, len(codes), Format.FP10).tobytes() == values.tobytes()


def test_a_record_has_as_many_immediates_as_any_function() -> None:
    assert max(len(spec.immediates) for spec in FUNCTIONS) == IMMEDIATES
