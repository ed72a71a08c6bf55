"""``flexc diff``: what two artefacts have different."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any, TypeVar

import click

from flexc.analysis.diff import PartCost, PartDifference, ScheduleDifference, Total, schedule_difference
from flexc.analysis.inspection import byte_text
from flexc.analysis.value_diff import Parting, ValueDifference, value_difference
from flexc.array_files import read_npz
from flexc.artefact import Source
from flexc.cli.progress import working
from flexc.cli.text_table import table_lines
from flexc.cost.energy_breakdown import COMPONENT_WORDS, COMPONENTS
from flexc.diagnostics import printable
from flexc.options import CompileOptions
from flexc.program import load
from flexc.versioned_json import finite_or_none, versioned_json

SCHEMA = "flexc.diff"
SCHEMA_VERSION = 2
ABSENT = "-"
Number = TypeVar("Number", int, float)


@click.command("diff", short_help="Show what two artefacts have different.")
@click.argument("a", metavar="A", type=click.Path(path_type=Path))
@click.argument("b", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "-i", "--input", "input_path", metavar="IN.npz", type=click.Path(path_type=Path),
    help="Run both on these inputs, and name the first tensor, index and bit in which they differ.",
)  # fmt: skip
@click.option("--all", "show_all", is_flag=True, help="Layers that are the same in both, too.")
@click.option("--mappings", is_flag=True, help="The mappings of layers that are mapped differently.")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def diff(a: Path, b: Path, input_path: Path | None, show_all: bool, mappings: bool, as_json: bool) -> None:
    """Show what the artefacts in the folders A and B have different: models and options, and by layer and in
    total the formats, mappings, cycles, DRAM bytes and energy. All rates and energies behind them are
    assumptions of the targets.

    \b
    Examples:
      flexc diff fb16.flexc fb12.flexc
      flexc diff fb16.flexc fb12.flexc --input in.npz
      flexc diff before.flexc after.flexc --mappings --json
    """
    one, other = load(a), load(b)
    found = schedule_difference(one.schedule, other.schedule)
    values = None
    if input_path is not None:
        inputs = read_npz(input_path)
        with working("running both artefacts"):
            values = value_difference(one, other, inputs)
    options = {**_models(one.source, other.source), **_options(one.options, other.options)}
    if as_json:
        click.echo(_json(options, found, values), nl=False)
        return
    for line in _lines(options, found, show_all=show_all, mappings=mappings):
        click.echo(printable(line))
    if values is not None:
        click.echo()
        click.echo("\n".join(map(printable, _value_lines(values))))


def _models(a: Source, b: Source) -> dict[str, tuple[object, object]]:
    """The ONNX files where they are not the same; with their hashes where only these differ."""
    if a.sha256 == b.sha256:
        return {}
    left, right = PurePath(a.path).name, PurePath(b.path).name
    if left == right:
        left, right = f"{left} ({a.sha256[:12]})", f"{right} ({b.sha256[:12]})"
    return {"model": (left, right)}


def _options(a: CompileOptions, b: CompileOptions) -> dict[str, tuple[object, object]]:
    """The options that differ; those of training by names such as ``training.loss``."""
    left, right = dict(_flat(asdict(a))), dict(_flat(asdict(b)))
    found = {name: (left.get(name, ABSENT), right.get(name, ABSENT)) for name in (*left, *right)}
    return {name: (one, other) for name, (one, other) in found.items() if one != other}


def _flat(options: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value


def _json(
    options: dict[str, tuple[object, object]], found: ScheduleDifference, values: ValueDifference | None
) -> str:
    parting = None if values is None or values.parting is None else asdict(values.parting)
    if parting is not None:
        parting |= {name: finite_or_none(parting[name]) for name in ("a_value", "b_value")}
    content = {
        "assumed": True,
        "options": {name: {"a": left, "b": right} for name, (left, right) in options.items()},
        "a": asdict(found.a),
        "b": asdict(found.b),
        "parts": [{**asdict(part), "equal": part.equal} for part in found.parts],
        "values": None if values is None else {**asdict(values), "parting": parting},
    }
    return versioned_json(SCHEMA, SCHEMA_VERSION, content)


def _lines(
    options: dict[str, tuple[object, object]], found: ScheduleDifference, *, show_all: bool, mappings: bool
) -> list[str]:
    rows = [[name, str(left), str(right), ""] for name, (left, right) in options.items()]
    lines = table_lines(("", "a", "b", "b / a"), [*rows, *_total_rows(found.a, found.b)], numbers=3)
    targets = " and ".join(dict.fromkeys((found.a.target, found.b.target)))
    lines.append(f"every rate, size and energy behind these is assumed of {targets}")
    shown = found.parts if show_all else found.differing
    if shown:
        header = ("layer", "part", "formats a", "formats b", "mapping")
        numbers = ("cycles a", "cycles b", "DRAM a", "DRAM b", "energy a", "energy b")
        lines += ["", *table_lines((*header, *numbers), list(map(_row, shown)), numbers=len(numbers))]
    if len(shown) < len(found.parts):
        lines += ["", f"{len(found.parts) - len(shown)} of {len(found.parts)} layers and parts are the same"]
    if mappings:
        for part in found.differing:
            lines += _mapping_lines(part)
    return lines


def _total_rows(a: Total, b: Total) -> list[list[str]]:
    def row(name: str, left: Number, right: Number, text: Callable[[Number], str]) -> list[str]:
        return [name, text(left), text(right), f"{right / left:.3f}" if left else ABSENT]

    left, right = (total.energy_by_component_pj.by_component() for total in (a, b))
    energies = {name: (left[name], right[name]) for name in COMPONENTS}
    return [
        ["target", a.target, b.target, ""],
        row("cycles", a.cycles, b.cycles, "{:,}".format),
        row("ms", a.milliseconds, b.milliseconds, "{:.3f}".format),
        row("MACs", a.macs, b.macs, "{:,}".format),
        row("DRAM read", a.read_bytes, b.read_bytes, byte_text),
        row("DRAM written", a.written_bytes, b.written_bytes, byte_text),
        row("energy", a.energy_pj, b.energy_pj, _energy),
        *(
            row(f"  {COMPONENT_WORDS[name]}", *parts, _energy)
            for name, parts in energies.items()
            if any(parts)
        ),
        row("instructions", a.instructions, b.instructions, "{:,}".format),
    ]


def _energy(picojoules: float) -> str:
    return f"{picojoules / 1e6:,.3f} uJ"


def _row(part: PartDifference) -> list[str]:
    a, b = part.a, part.b
    if a is None or b is None:
        mapping = ABSENT
    else:
        mapping = "" if not a.mappings + b.mappings else "same" if a.mappings == b.mappings else "differs"
    left, right = _cells(a), _cells(b)
    numbers = [cell for pair in zip(left[1:], right[1:], strict=True) for cell in pair]
    return [part.layer, part.part, left[0], right[0], mapping, *numbers]


def _cells(cost: PartCost | None) -> tuple[str, str, str, str]:
    if cost is None:
        return ABSENT, ABSENT, ABSENT, ABSENT
    formats = "; ".join(dict.fromkeys(cost.formats))
    return formats, f"{cost.cycles:,}", byte_text(cost.dram_bytes), _energy(cost.energy_pj)


def _mapping_lines(part: PartDifference) -> list[str]:
    if part.a is None or part.b is None or part.a.mappings == part.b.mappings:
        return []
    return [
        "",
        f"{part.layer}, {part.part}",
        *(f"  a: {mapping}" for mapping in part.a.mappings),
        *(f"  b: {mapping}" for mapping in part.b.mappings),
    ]


def _value_lines(values: ValueDifference) -> list[str]:
    compared = f"{values.compared} tensors compared, {values.only_in_one} are in one of the artefacts alone"
    if values.parting is None:
        return [f"values: equal in every bit ({compared})"]
    return [f"values part at {_parting(values.parting)}", f"({compared})"]


def _parting(found: Parting) -> str:
    node = f" (node '{found.node}')" if found.node else ""
    return (
        f"'{found.tensor}'{node}, index {list(found.index)}, bit {found.bit}: "
        f"a {found.a_value!r} (0x{found.a_bits}), b {found.b_value!r} (0x{found.b_bits})"
    )
