"""What `flexc inspect` shows of a schedule, on schedules made by hand."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace

import pytest

from flexc.analysis.inspection import (
    GroupOrder,
    byte_text,
    csv_text,
    layer,
    ranked,
    spatial_utilization,
    summary,
    timeline,
)
from flexc.analysis.layer_details import details
from flexc.cost.energy_breakdown import EnergyBreakdown
from flexc.diagnostics import CompileError
from flexc.schedule import (
    BufferUse,
    ContractionSchedule,
    DramUse,
    EngineSchedule,
    GroupSchedule,
    LoopLevel,
    NodeSchedule,
    Schedule,
    TensorTraffic,
)
from tests.conftest import Golden


def group(index: int, engines: Mapping[str, tuple[int, int, int]], *names: str) -> GroupSchedule:
    """A group of elementwise nodes; ``engines`` holds start, end and busy cycles."""
    uses = {engine: EngineSchedule(*use) for engine, use in engines.items()}
    return GroupSchedule(
        index=index,
        kind="elementwise",
        step_part="forward",
        ops=tuple("nn.relu" for _ in names) or ("nn.copy",),
        nodes=tuple(NodeSchedule(name, "Relu", 7 + number) for number, name in enumerate(names)),
        contractions=(),
        quantizations=(),
        start_cycle=min(use.start_cycle for use in uses.values()),
        end_cycle=max(use.end_cycle for use in uses.values()),
        engines=uses,
        macs=0,
        end_to_end_utilization=0.0,
        limit="DRAM",
        traffic=(TensorTraffic("x", 1024, 0), TensorTraffic("y", 0, 1536)),
        buffers=(BufferUse("operand", 512, 2, False, "src"),),
        read_bytes=1024,
        written_bytes=1536,
        instructions=4,
        energy_by_component_pj=EnergyBreakdown(dram=2e6, vector=5e4),
    )


def schedule(cycles: int, *groups: GroupSchedule) -> Schedule:
    return Schedule(
        target="flexblock",
        clock_mhz=500.0,
        cycles=cycles,
        milliseconds=cycles / 5e5,
        spatial_utilization=0.5,
        end_to_end_utilization=0.25,
        busy_cycles={"dma_in": cycles // 2, "cores": cycles // 4},
        macs=sum(one.macs for one in groups),
        read_bytes=3000,
        written_bytes=2000,
        instructions=sum(one.instructions for one in groups),
        energy_by_component_pj=sum((one.energy_by_component_pj for one in groups), EnergyBreakdown()),
        dram=DramUse(8 * 2**30, 4096, 1024, ()),
        groups=groups,
    )


def contraction(multiplier_cycles: int, utilization: float) -> ContractionSchedule:
    return ContractionSchedule(
        result="y",
        formats=("m8 1x64x1x1", "m4 1x32x1x1"),
        extents={"n": 1, "o": 128, "k": 64},
        mapping="stream b, ...",
        levels=(
            LoopLevel("DRAM", "o 4", False),
            LoopLevel("core", "", True, 1, 16),
            LoopLevel("lane", "k 12", True, 12, 12),
        ),
        macs=8192,
        multiplier_cycles=multiplier_cycles,
        utilization=utilization,
        limit="lanes",
    )


FIRST = group(0, {"dma_in": (0, 4, 4), "cores": (2, 10, 4), "converter": (5, 5, 0)}, "net/a", "net/b")
SECOND = group(1, {"dma_out": (9, 11, 2), "vector": (18, 19, 1)}, "net/c")
THIRD = group(2, {"vector": (19, 20, 1)})
WHOLE = schedule(20, FIRST, SECOND, THIRD)


def rows(of: Schedule, columns: int) -> dict[str, str]:
    """The engines' rows of the timeline."""
    named = [line.partition(" |") for line in timeline(of, columns)[:6]]
    return {name.strip(): row.removesuffix("|") for name, _, row in named}


def test_the_timeline_shades_columns_by_work() -> None:
    """Two cycles a column: all of it busy is '#', half of it '='; groups that share a column add up."""
    assert rows(WHOLE, 10) == {
        "dma_in": "##        ",
        "dma_out": "    ==    ",
        "cores": " ====     ",
        "converter": "          ",
        "vector": "         #",
        "lightnorm": "          ",
    }
    scale, legend = timeline(WHOLE, 12)[6:]
    assert scale == "            0  20 cycles"
    assert legend == "            busy: ' .:-=+*#' from idle to all the time"


@pytest.mark.parametrize(("cycles", "columns"), [(30, 20), (7, 20), (73, 72), (1, 3)])
def test_the_timeline_is_full_whatever_its_scale(cycles: int, columns: int) -> None:
    busy = group(0, {"cores": (0, cycles, cycles)})
    assert rows(schedule(cycles, busy), columns)["cores"] == "#" * columns


def test_no_cycles_are_an_empty_timeline() -> None:
    assert set(rows(schedule(0), 5).values()) == {" " * 5}


def test_a_layer_is_its_groups() -> None:
    assert layer(WHOLE, "net/b").groups == (FIRST,)
    assert layer(WHOLE, "#2").groups == (THIRD,)
    assert layer(WHOLE, "net/c") == replace(WHOLE, groups=(SECOND,))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("NET/", "close names: net/a, net/b, net/c"),
        ("nte/c", "close names: net/c"),
        ("convolution", "`flexc inspect DIR` lists the nodes"),
        ("#3", "`flexc inspect DIR` lists the nodes"),
    ],
)
def test_an_unknown_layer_is_an_error_with_close_names(name: str, hint: str) -> None:
    with pytest.raises(CompileError, match="FX552") as caught:
        layer(WHOLE, name)
    assert f"'{name}'" in caught.value.diagnostics[0].message
    assert caught.value.diagnostics[0].hint.startswith(hint)


def test_the_error_for_an_unknown_layer(golden: Golden) -> None:
    with pytest.raises(CompileError) as caught:
        layer(WHOLE, "nte/c")
    golden.check("inspect/unknown_layer.txt", f"{caught.value}\n")


def test_groups_are_ranked_by_size_and_equal_ones_by_order() -> None:
    small = replace(SECOND, macs=5, read_bytes=9000, start_cycle=0, end_cycle=3)
    large = replace(THIRD, macs=50, read_bytes=0, start_cycle=0, end_cycle=10)
    whole = schedule(20, FIRST, small, large)

    def order(by: GroupOrder, count: int | None = None) -> list[int]:
        found = ranked(whole, by, count)
        assert replace(found, groups=whole.groups) == whole
        return [one.index for one in found.groups]

    assert order(GroupOrder.RUN) == [0, 1, 2]
    assert order(GroupOrder.RUN, 2) == [0, 1]
    assert order(GroupOrder.CYCLES) == [0, 2, 1]
    assert order(GroupOrder.BYTES) == [1, 0, 2]
    assert order(GroupOrder.MACS, 1) == [2]
    assert order(GroupOrder.MACS, 9) == [2, 1, 0]


def test_details_and_summary(golden: Golden) -> None:
    product = replace(
        FIRST,
        kind="contraction",
        contractions=(contraction(100, 0.5),),
        macs=8192,
        end_to_end_utilization=0.125,
    )
    text = "\n".join([*summary(schedule(20, product)), "", *details(product), "", *details(THIRD)])
    golden.check("inspect/details.txt", f"{text}\n")


def test_a_program_of_no_cycles_has_a_summary() -> None:
    assert summary(schedule(0))[-2:] == ["engines at work: ", "groups are limited by: nothing"]


def test_the_summary_ranks_limits_by_the_cycles_of_their_groups() -> None:
    slow = replace(FIRST, limit="lanes", start_cycle=0, end_cycle=60)
    found = summary(schedule(80, SECOND, slow, THIRD))[-1]
    assert found == "groups are limited by: lanes 85% (1), DRAM 15% (2)"


def test_csv_has_a_row_a_group() -> None:
    product = replace(FIRST, contractions=(contraction(100, 0.5), contraction(100, 0.25)), macs=16384)
    found = list(csv.DictReader(io.StringIO(csv_text(schedule(20, product, SECOND, THIRD)))))
    assert [row["group"] for row in found] == ["0", "1", "2"]
    assert found[0]["ops"] == "nn.relu nn.relu"
    assert found[0]["formats"] == "m8 1x64x1x1 x m4 1x32x1x1; m8 1x64x1x1 x m4 1x32x1x1"
    assert found[0]["mapping"] == "stream b, ...; stream b, ..."
    assert (found[0]["macs"], found[0]["cores_cycles"], found[0]["vector_cycles"]) == ("16384", "4", "0")
    assert (found[1]["node"], found[1]["op_type"], found[1]["node_index"]) == ("net/c", "Relu", "7")
    assert (found[1]["spatial_utilization"], found[1]["end_to_end_utilization"]) == ("", "")
    assert (found[2]["node"], found[2]["read_bytes"], found[2]["written_bytes"]) == ("", "1024", "1536")


def test_utilizations_are_weighted_by_cycles() -> None:
    """100 multiplier cycles at a half take as long as 50 at a quarter: 150 in 400, not their mean."""
    assert spatial_utilization([contraction(100, 0.5), contraction(50, 0.25)]) == 150 / 400


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20, "1.0 MiB"),
        (3 * 2**30, "3.0 GiB"),
        (5 * 2**40, "5120.0 GiB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert byte_text(count) == text
