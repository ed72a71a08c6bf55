"""Targets: the catalog, and what a target file may not hold."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from xdsl.parser import Parser

from flexc.backends.stream.isa import LANES_AND_UNITS
from flexc.backends.stream.isa_functions import FUNCTIONS
from flexc.cli.targets import rows_of, targets
from flexc.diagnostics import CompileError
from flexc.ir.mapping import MappingAttr
from flexc.ir.program import make_context
from flexc.mapping.legality import check
from flexc.target import catalog_names, load_target, parse_target
from flexc.target.load import CATALOG
from tests.mapping_problems import conv_problem

TEXT = (CATALOG / "flexblock.toml").read_text()
HARDWARE = (Path(__file__).parents[2] / "docs" / "hardware.md").read_text()


def codes(text: str) -> list[tuple[str, str]]:
    """Code and message of every error in a target file of this text."""
    with pytest.raises(CompileError) as failure:
        parse_target(text.encode(), "machine.toml")
    return [(each.code, each.message) for each in failure.value.diagnostics]


def test_catalog() -> None:
    assert catalog_names() == ("flexblock", "flexblock-cloud", "flexblock-edge")
    edge, default, cloud = (load_target(name) for name in ("flexblock-edge", "flexblock", "flexblock-cloud"))
    assert [target.cores for target in (edge, default, cloud)] == [4, 16, 64]
    assert [target.dram_bytes_per_second / 1e9 for target in (edge, default, cloud)] == [12.8, 64, 256]
    assert [target.converter_elements_per_cycle for target in (edge, default, cloud)] == [64, 256, 1024]
    assert default.dram_bytes_per_cycle == 128
    assert default.multipliers == 16 * 864
    assert edge.energy == default.energy == cloud.energy
    assert edge.vector_cycles == default.vector_cycles == cloud.vector_cycles
    for name in catalog_names():
        assert load_target(name).name == name


def test_a_path_is_a_target_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TEXT.replace('name = "flexblock"', 'name = "mine"').replace("cores = 16", "cores = 3"))
    target = load_target(str(file))
    assert (target.name, target.cores) == ("mine", 3)


@pytest.mark.parametrize("name", ["flexblok", "", "nothing.toml", "flexc"])
def test_unknown_target(name: str) -> None:
    with pytest.raises(CompileError, match="flexblock-edge"):
        load_target(name)


@pytest.mark.parametrize(
    ("before", "after", "code", "message"),
    [
        ("cores = 16", "", "FX403", "no value for 'cores'"),
        ("cores = 16", "cores = 16\ncores = 16", "FX402", "not a target file"),
        ("cores = 16", "cores = 16\ncors = 16", "FX403", "unknown key 'cors'"),
        ("cores = 16", "cores = 16.0", "FX403", "'cores' must be an integer"),
        ("cores = 16", "cores = true", "FX403", "'cores' must be an integer"),
        ("cores = 16", "cores = 0", "FX404", "'cores' is 0, outside 1 to 4096"),
        ("clock_mhz = 500.0", "clock_mhz = nan", "FX404", "'clock_mhz' is nan"),
        ("clock_mhz = 500.0", "clock_mhz = inf", "FX404", "'clock_mhz' is inf"),
        ("clock_mhz = 500.0", 'clock_mhz = "fast"', "FX403", "'clock_mhz' must be a number"),
        ("pes_per_core = 9", "pes_per_core = 8", "FX404", "'pes_per_core' is 8"),
        ('name = "flexblock"', 'name = " "', "FX403", "'name' is empty"),
        ("erf = 20", "", "FX403", "no value for 'vector_cycles.erf'"),
        ("erf = 20", "erf = -1", "FX404", "'vector_cycles.erf' is -1"),
        ("[energy.fp32_add_pj]", "[energy.fp32_ad_pj]", "FX403", "unknown key 'energy.fp32_ad_pj'"),
        (
            "value = 0.9\nsource = ",
            "value = 0.9\norigin = ",
            "FX403",
            "no value for 'energy.fp32_add_pj.source'",
        ),
    ],
)
def test_strict(before: str, after: str, code: str, message: str) -> None:
    assert before in TEXT
    found = codes(TEXT.replace(before, after, 1))
    assert any(each == code and message in text for each, text in found), found


def test_an_integer_is_a_number() -> None:
    assert parse_target(TEXT.replace("clock_mhz = 500.0", "clock_mhz = 500").encode()).clock_mhz == 500.0


def test_all_errors_come_together() -> None:
    found = codes("cores = 0\nvector_cycles = 3")
    assert ("FX404", "'cores' is 0, outside 1 to 4096") in found
    assert ("FX403", "'vector_cycles' must be a table") in found
    assert ("FX403", "no value for 'energy'") in found


def test_not_toml_and_not_text() -> None:
    for content in (b"cores = ", b"\xff\xfe"):
        with pytest.raises(CompileError, match="FX402"):
            parse_target(content)


@pytest.mark.parametrize(
    ("bits", "shape"),
    [
        ((4, 4), (24, 4, 1, 384)),
        ((4, 8), (24, 2, 2, 384)),
        ((8, 8), (12, 2, 4, 192)),
        ((4, 16), (24, 1, 4, 384)),
        ((8, 16), (12, 1, 8, 192)),
        ((16, 16), (6, 1, 16, 96)),
    ],
)
def test_the_array_for_each_pair_of_widths(bits: tuple[int, int], shape: tuple[int, int, int, int]) -> None:
    for a_bits, b_bits in (bits, bits[::-1]):
        found = load_target("flexblock").pe_shape(a_bits, b_bits)
        assert (found.lanes, found.units, found.multipliers_per_mac, found.held_bits) == shape
    assert LANES_AND_UNITS[bits] == shape[:2]


def test_no_other_widths() -> None:
    with pytest.raises(CompileError, match="FX411"):
        load_target("flexblock").pe_shape(12, 8)


def test_every_vector_function_has_its_cycles() -> None:
    cycles = load_target("flexblock").vector_cycles
    assert all(cycles.cycles_of(function.name) >= 1 for function in FUNCTIONS)
    with pytest.raises(KeyError):
        cycles.cycles_of("cycles_of")


def test_command_marks_every_value() -> None:
    run = CliRunner().invoke(targets, ["flexblock-edge", "--json"])
    values = json.loads(run.output)["targets"][0]["values"]
    assert values["cores"] == {
        "value": 4,
        "origin": "assumed",
        "meaning": "Cores of the chip; they make different outputs.",
    }
    assert all(value["origin"].startswith("assumed") for value in values.values())
    assert "Horowitz" in values["energy.fp32_add_pj"]["origin"]
    assert set(values) == {row.key for row in rows_of(load_target("flexblock-edge"))}
    table = CliRunner().invoke(targets, ["flexblock-edge"]).output
    assert "every value is assumed" in table
    assert all(key in table for key in values)


def test_command_lists() -> None:
    table = CliRunner().invoke(targets, []).output
    assert all(name in table for name in catalog_names())


def table_rows(text: str, first_header: str) -> list[list[str]]:
    """Cells of the body of the Markdown table whose header starts so."""
    lines = text[text.index(first_header) :].splitlines()[2:]
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_documentation_quotes_the_array() -> None:
    for widths, multipliers, array, macs, held in table_rows(HARDWARE, "| mantissas |"):
        a_bits, b_bits = (int(width) for width in widths.split(" x "))
        shape = load_target("flexblock").pe_shape(a_bits, b_bits)
        assert int(multipliers) == shape.multipliers_per_mac
        assert array == f"{shape.lanes} x {shape.units}"
        assert int(macs) == 9 * shape.lanes * shape.units
        assert int(held) == shape.held_bits


def test_the_documentation_quotes_the_targets() -> None:
    rows = table_rows(HARDWARE, "| | flexblock-edge |")
    for column, name in enumerate(("flexblock-edge", "flexblock", "flexblock-cloud"), 1):
        target = load_target(name)
        buffers = (target.operand_buffer_bytes, target.held_buffer_bytes, target.psum_buffer_bytes)
        dram = (
            target.dram_bytes_per_second / 1e9,
            target.dram_capacity_bytes / 2**30,
            target.dram_pj_per_bit,
        )
        engines = (
            target.converter_elements_per_cycle,
            target.vector_elements_per_cycle,
            target.lightnorm_elements_per_cycle,
        )
        assert [row[column] for row in rows] == [
            f"{target.cores}, {target.clock_mhz:g} MHz",
            " / ".join(f"{size // 1024}" for size in buffers) + " KiB",
            "{:g} GB/s, {:g} GiB, {:g} pJ/bit".format(*dram),
            " / ".join(map(str, engines)),
        ]


def test_the_mapping_that_the_documentation_reads_is_legal() -> None:
    (quoted,) = re.findall(r"```\n(#flexblock.mapping<.*?>)\n```", HARDWARE, re.DOTALL)
    attribute = Parser(make_context(), " ".join(quoted.split())).parse_attribute()
    assert isinstance(attribute, MappingAttr)
    problem = conv_problem((1, 64, 16, 16), 64, (3, 3), pad=1)
    assert check(problem, attribute.data, load_target("flexblock")) == []
