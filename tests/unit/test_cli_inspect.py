"""`flexc inspect` on an artefact: what it prints in every format, and its options."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import flexc
from flexc.cli import main
from flexc.cli.inspect import NUMBERS, fitting_columns
from flexc.schedule import Schedule
from tests.conftest import Golden
from tests.inspected_model import residual_model
from tests.json_schema import violations
from tests.onnx_models import save


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    flexc.compile(save(residual_model(), folder), output=folder / "a")
    return folder / "a"


def inspect(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["inspect", str(folder), *options])


def csv_groups(output: str) -> list[str]:
    return [row["group"] for row in csv.DictReader(io.StringIO(output))]


def test_the_table_and_the_timeline(artefact: Path, golden: Golden) -> None:
    result = inspect(artefact)
    assert result.exit_code == 0
    assert result.stderr == ""
    text = "".join(f"{line.rstrip()}\n" for line in result.stdout.splitlines())
    golden.check("inspect/table.txt", text)


def test_a_layer_by_node_and_by_number(artefact: Path, golden: Golden) -> None:
    by_number = inspect(artefact, "--layer", "#1")
    golden.check("inspect/layer.txt", by_number.stdout)
    assumed, group = by_number.stdout.split("\n", 1)
    assert assumed == "target flexblock, 500 MHz: every rate, size and energy of it is assumed"
    assert group.startswith("group 1 (contraction): 'block.conv1' (Conv, node 0)")
    assert inspect(artefact, "--layer", "block.bn1").stdout == by_number.stdout
    both = inspect(artefact, "--layer", "block.conv1").stdout
    assert both.startswith(f"{assumed}\ngroup 0 (convert): 'block.conv1'")
    assert both.endswith(group)


def test_an_unknown_layer_ends_with_1(artefact: Path) -> None:
    result = inspect(artefact, "--layer", "block.cnov2")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "error[FX552]: no group of the schedule comes from a node called 'block.cnov2'\n"
        "  hint: close names: block.conv2, block.conv1, block.bn2\n"
    )


def test_json_is_the_schedule(artefact: Path) -> None:
    result = inspect(artefact, "--json")
    assert violations(json.loads(result.stdout), "schedule.json") == []
    assert result.stdout == (artefact / "schedule.json").read_text()
    assert inspect(artefact, "--format", "json").stdout == result.stdout
    whole = Schedule.from_json(result.stdout)
    layer = Schedule.from_json(inspect(artefact, "--layer", "fc", "--json").stdout)
    assert layer.groups == tuple(group for group in whole.groups if group.label == "fc")
    assert layer.cycles == whole.cycles


def test_csv_has_every_group(artefact: Path) -> None:
    found = list(csv.DictReader(io.StringIO(inspect(artefact, "--format", "csv").stdout)))
    whole = flexc.load(artefact).schedule
    assert [int(row["group"]) for row in found] == [group.index for group in whole.groups]
    for column, total in (("read_bytes", whole.read_bytes), ("macs", whole.macs)):
        assert sum(int(row[column]) for row in found) == total
    assert csv_groups(inspect(artefact, "--layer", "pool", "--format", "csv").stdout) == ["4"]


@pytest.mark.parametrize("key", ["cycles", "energy", "bytes", "macs"])
def test_the_largest_groups_come_first(artefact: Path, key: str) -> None:
    def size(row: dict[str, str]) -> float:
        amounts: dict[str, float] = {
            "cycles": int(row["end_cycle"]) - int(row["start_cycle"]),
            "bytes": int(row["read_bytes"]) + int(row["written_bytes"]),
            "macs": int(row["macs"]),
            "energy": float(row["energy_pj"] or 0),
        }
        return amounts[key]

    rows = list(csv.DictReader(io.StringIO(inspect(artefact, "--format", "csv").stdout)))
    wanted = [row["group"] for row in sorted(rows, key=size, reverse=True)]
    assert wanted != [row["group"] for row in rows]
    assert csv_groups(inspect(artefact, "--format", "csv", "--sort", key).stdout) == wanted
    assert csv_groups(inspect(artefact, "--format", "csv", "--sort", key, "--top", "2").stdout) == wanted[:2]


def test_the_timeline_and_the_totals_are_those_of_all_groups(artefact: Path) -> None:
    whole, top = inspect(artefact).stdout.splitlines(), inspect(artefact, "--top", "3").stdout.splitlines()
    assert top[-8:] == whole[-8:]
    assert top[:7] == whole[:7]
    assert len(whole) - len(top) == 4
    (total,) = (line for line in top if "total of all 7 groups" in line)
    assert flexc.load(artefact).schedule.macs == int(total.split()[5].replace(",", ""))


def test_wrong_usage(artefact: Path) -> None:
    assert inspect(artefact, "--json", "--format", "csv").exit_code == 2
    assert inspect(artefact, "--top", "0").exit_code == 2
    assert inspect(artefact, "--sort", "name").exit_code == 2
    assert "FX512" in inspect(artefact.parent).stderr


def test_a_narrow_terminal_goes_without_columns_and_cuts_none() -> None:
    names = ("#", "node", "kind", "formats", *NUMBERS)
    row = ["1", "a" * 60, "contraction", "m8 x m8", *(["1,000,000"] * len(NUMBERS))]
    every = list(range(len(names)))
    assert fitting_columns(names, [row], 400) == every
    before = every
    for width in range(400, 20, -1):
        shown = fitting_columns(names, [row], width)
        assert set(shown) <= set(before)
        kept = [names[at] for at in shown]
        assert {"node", "cycles", "limit", "DRAM", "energy"} <= set(kept)
        if width > 75:
            assert sum(min(24, len(row[at])) + 3 for at in shown) <= width
        before = shown


def test_the_table_says_what_it_leaves_out(artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "left out" not in inspect(artefact).stdout
    monkeypatch.setattr("flexc.cli.inspect.PIPE_WIDTH", 90)
    text = inspect(artefact).stdout
    assert "left out, for want of width: formats, MACs, cores, DMA, other, spatial" in text
    assert "…" not in text
    assert max(map(len, text.split("DRAM in use")[1].split("left out")[0].splitlines()[1:])) <= 90
