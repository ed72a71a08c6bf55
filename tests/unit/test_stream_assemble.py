"""Listings: what they look like, that they assemble to the same bytes, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flexc.backends.stream.assemble import assemble
from flexc.backends.stream.encode import encode
from flexc.backends.stream.isa import Opcode, blank_records
from flexc.backends.stream.listing import disassemble, initial_bytes
from flexc.backends.stream.program import Stream
from flexc.backends.stream.record_text import RecordTextError, parse_record, print_record
from flexc.diagnostics import CompileError
from tests.stream_programs import ConvCase, conv_program


@pytest.fixture(scope="module")
def stream() -> Stream:
    return conv_program(ConvCase()).stream


@pytest.fixture
def folder(stream: Stream, tmp_path: Path) -> Path:
    (tmp_path / "stream.data").write_bytes(initial_bytes(stream))
    return tmp_path


def test_a_listing_assembles_to_the_same_bytes(stream: Stream, folder: Path) -> None:
    text = disassemble(stream)
    assert encode(assemble(text, folder)) == encode(stream)
    assert disassemble(assemble(text, folder)) == text


def test_a_record_is_short_and_readable(stream: Stream) -> None:
    loads = stream.records[stream.records["opcode"] == Opcode.LOAD]
    assert print_record(loads[1]) == [
        "load core_grid=(1,2,2)",
        "  dst r8 m8 local [2048,512,64,8]",
        "  src r0 m8 global [6720,960,160,8]",
        "  dim 2 limit=2",
        "  dim 4 start=-1 limit=7 loop=(0,4) core=(0,2)",
        "  dim 8 start=-1 limit=6",
        "  dim 8 limit=20 loop=(0,0,8)",
    ]


def test_a_record_that_words_cannot_say_is_raw() -> None:
    record = blank_records(1)[0]
    record["opcode"] = 200
    (line,) = print_record(record)
    assert line.startswith("raw c8")
    assert parse_record([line]).tobytes() == record.tobytes()


def test_a_field_without_meaning_is_not_lost() -> None:
    record = blank_records(1)[0]
    record["opcode"] = Opcode.NEXT
    record["seed"] = 7
    assert parse_record(print_record(record)).tobytes() == record.tobytes()


@pytest.mark.parametrize("value", [-0.0, float("inf"), float("-inf"), 1e-45, 0.1])
def test_immediates_keep_their_bits(value: float) -> None:
    record = blank_records(1)[0]
    record["opcode"] = Opcode.LOAD
    record["immediate"][0] = value
    lines = print_record(record)
    assert lines[0].startswith("load immediate=")
    assert parse_record(lines).tobytes() == record.tobytes()


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        (["lode"], 0, "no opcode"),
        (["load size_bytes=3"], 0, "no field of load"),
        (["loop count=x"], 0, "no integer"),
        (["loop count=-1"], 0, "does not fit"),
        (["slot slot=7"], 0, "no slot register"),
        (["slot slot=r1 space=cache"], 0, "no space"),
        (["vector sum"], 0, "no function"),
        (["convert up"], 0, "no rounding"),
        (["load core_grid=(1,2)"], 0, "2 entries instead of 3"),
        (["load", "tgt r1 f32 local []"], 1, "neither an operand"),
        (["load", "dst r1 f31 local []"], 1, "no format"),
        (["load", "dst r1 f32 []"], 1, "an operand is"),
        (["load", "dim 3", "dim 2 limit=x"], 2, "no integer"),
        (["load", "dim 3 size=2"], 1, "no field of a dimension"),
        (["compute", "n 3"], 1, "next dimension"),
        (["compute lane=(z,3)"], 0, "no dimension"),
        (["compute pe=(sum,k,3)"], 0, "no peuse"),
        (["raw 00"], 0, "raw record has"),
        (["raw zz"], 0, "hexadecimal"),
    ],
)
def test_lines_that_are_no_record(lines: list[str], line: int, message: str) -> None:
    with pytest.raises(RecordTextError, match=message) as caught:
        parse_record(lines)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("halt\n", "no .machine"),
        (".machine test cores=1 operand=1 held=1 psum=1 dram=1\n", "line 1"),
        ('.machine "t" cores=1 operand=1 held=1 psum=1\n', "wants cores"),
        (".section\n", "no directive"),
        (".plane f32 [1] stride=[1] at=0 size=4\n", "no symbol before"),
        ('.symbol "x" buffer [1] complete_at=0\n', "no kind"),
        ("\n; comment\nload\n  dst r1 f31 local []\n", "line 4: 'f31'"),
    ],
)
def test_listings_that_say_nothing(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=message) as caught:
        assemble(text, tmp_path, "stream.s")
    assert caught.value.diagnostics[0].code == "FX534"


def test_changed_or_missing_initial_data(stream: Stream, folder: Path) -> None:
    text = disassemble(stream)
    data = folder / "stream.data"
    data.write_bytes(b"\xff" + data.read_bytes()[1:])
    with pytest.raises(CompileError, match="FX535"):
        assemble(text, folder)
    data.unlink()
    with pytest.raises(CompileError, match="FX535"):
        assemble(text, folder)


def test_names_of_any_text_survive(stream: Stream, folder: Path) -> None:
    symbol = replace(stream.symbols[-1], name='a "b"; ü\n')
    changed = replace(stream, symbols=(symbol,), groups=(replace(stream.groups[0], label="; x y"),))
    assert encode(assemble(disassemble(changed), folder)) == encode(changed)
    assert np.array_equal(assemble(disassemble(changed), folder).records, changed.records)
