"""What `flexc inspect` shows of a schedule: a summary, a row a group, a timeline."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from math import ceil

from flexc.backends.stream.isa import ENGINES
from flexc.cost.energy_breakdown import COMPONENT_WORDS, COMPONENTS, EnergyBreakdown
from flexc.diagnostics import error, printable
from flexc.schedule import ContractionSchedule, GroupSchedule, Schedule

TIMELINE_COLUMNS = 72
PARTS_OF_A_LINE = 4
"""Components of an energy that stand in one line."""
SHADES = " .:-=+*#"
"""How busy an engine is in a column of the timeline, from idle to all the time."""


class GroupOrder(StrEnum):
    """An order of groups: that in which they run, or the largest first."""

    RUN = "order"
    CYCLES = "cycles"
    ENERGY = "energy"
    BYTES = "bytes"
    MACS = "macs"


CSV_COLUMNS = (
    "group",
    "kind",
    "pass",
    "node",
    "op_type",
    "node_index",
    "ops",
    "formats",
    "mapping",
    "macs",
    "start_cycle",
    "end_cycle",
    *(f"{engine}_cycles" for engine in ENGINES),
    "spatial_utilization",
    "end_to_end_utilization",
    "limit",
    "read_bytes",
    "written_bytes",
    "energy_pj",
    *(f"{component}_pj" for component in COMPONENTS),
    "instructions",
    "assumed_target",
)


def layer(schedule: Schedule, name: str) -> Schedule:
    """The schedule with only the groups of ONNX node ``name`` (or of the group number ``#3``).

    Raises CompileError FX552 where there is none.
    """
    found = tuple(
        group
        for group in schedule.groups
        if name == f"#{group.index}" or any(node.name == name for node in group.nodes)
    )
    if not found:
        names = list(dict.fromkeys(node.name for group in schedule.groups for node in group.nodes))
        near = [known for known in names if name.lower() in known.lower()][:5]
        near = near or difflib.get_close_matches(name, names)
        raise error(
            "FX552",
            f"no group of the schedule comes from a node called '{printable(name)}'",
            hint=f"close names: {printable(', '.join(near))}"
            if near
            else "`flexc inspect DIR` lists the nodes",
        )
    return replace(schedule, groups=found)


def ranked(schedule: Schedule, order: GroupOrder, count: int | None) -> Schedule:
    """The schedule with the first ``count`` groups in ``order`` (all of them if None); totals stay."""

    def size(group: GroupSchedule) -> float:
        match order:
            case GroupOrder.RUN:
                return 0
            case GroupOrder.CYCLES:
                return group.cycles
            case GroupOrder.ENERGY:
                return group.energy_pj
            case GroupOrder.BYTES:
                return group.read_bytes + group.written_bytes
            case GroupOrder.MACS:
                return group.macs

    groups = sorted(schedule.groups, key=size, reverse=True)
    return replace(schedule, groups=tuple(groups[:count]))


def assumption(schedule: Schedule) -> str:
    """What all cycles, bytes and energies of a schedule rest on."""
    return (
        f"target {schedule.target}, {schedule.clock_mhz:g} MHz: every rate, size and energy of it is assumed"
    )


def summary(schedule: Schedule) -> list[str]:
    """Totals of the program."""
    busy = ", ".join(
        f"{engine} {cycles / schedule.cycles:.0%}"
        for engine, cycles in schedule.busy_cycles.items()
        if schedule.cycles
    )
    return [
        assumption(schedule),
        f"{schedule.cycles:,} cycles ({schedule.milliseconds:.3f} ms), {schedule.macs:,} MACs, "
        f"{schedule.instructions:,} instructions",
        f"utilization of the multipliers: {schedule.spatial_utilization:.1%} while the cores compute, "
        f"{schedule.end_to_end_utilization:.1%} of all cycles",
        f"DRAM: {byte_text(schedule.read_bytes)} read, {byte_text(schedule.written_bytes)} written",
        *energy_lines("energy: ", schedule.energy_by_component_pj),
        f"engines at work: {busy}",
        f"groups are limited by: {_limits(schedule)}",
    ]


def _limits(schedule: Schedule) -> str:
    """What limits how many groups, with their share of the cycles of all groups, the largest first."""
    cycles = sum(group.cycles for group in schedule.groups) or 1
    found: dict[str, list[int]] = {}
    for group in schedule.groups:
        found.setdefault(group.limit, []).append(group.cycles)
    ordered = sorted(found.items(), key=lambda item: (-sum(item[1]), item[0]))
    texts = (f"{limit} {sum(each) / cycles:.0%} ({len(each)})" for limit, each in ordered)
    return ", ".join(texts) or "nothing"


def timeline(schedule: Schedule, columns: int = TIMELINE_COLUMNS) -> list[str]:
    """One line an engine: how busy it is in each of ``columns`` stretches of the program.

    Within a group, the work of an engine counts as spread evenly from its first start to its last end.
    """
    width = max(1, schedule.cycles) / columns
    lines = []
    for engine in ENGINES:
        work = [0.0] * columns
        for group in schedule.groups:
            use = group.engines.get(engine)
            if use is None or use.end_cycle == use.start_cycle:
                continue
            density = use.busy_cycles / (use.end_cycle - use.start_cycle)
            for column in range(int(use.start_cycle / width), min(columns, ceil(use.end_cycle / width))):
                overlap = min(use.end_cycle, (column + 1) * width) - max(use.start_cycle, column * width)
                work[column] += density * overlap
        shades = (SHADES[min(len(SHADES) - 1, round(part / width * (len(SHADES) - 1)))] for part in work)
        lines.append(f"{engine:>10} |{''.join(shades)}|")
    end = f"{schedule.cycles:,} cycles"
    return [
        *lines,
        f"{'':>10}  0{end:>{columns - 1}}",
        f"{'':>10}  busy: '{SHADES}' from idle to all the time",
    ]


def csv_text(schedule: Schedule) -> str:
    """A row a group, with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for group in schedule.groups:
        writer.writerow((*_csv_row(group), schedule.target))
    return text.getvalue()


def _csv_row(group: GroupSchedule) -> Iterator[object]:
    yield from (group.index, group.kind, group.step_part)
    node = group.nodes[0] if group.nodes else None
    yield from (node.name, node.op_type, node.index) if node else ("", "", "")
    yield " ".join(group.ops)
    yield "; ".join(" x ".join(one.formats) for one in group.contractions)
    yield "; ".join(one.mapping for one in group.contractions)
    yield from (group.macs, group.start_cycle, group.end_cycle)
    for engine in ENGINES:
        use = group.engines.get(engine)
        yield use.busy_cycles if use else 0
    yield f"{spatial_utilization(group.contractions):.4f}" if group.contractions else ""
    yield f"{group.end_to_end_utilization:.4f}" if group.contractions else ""
    yield from (group.limit, group.read_bytes, group.written_bytes)
    yield f"{group.energy_pj:.1f}"
    yield from (f"{energy:.1f}" for energy in group.energy_by_component_pj.by_component().values())
    yield group.instructions


def energy_lines(label: str, energy: EnergyBreakdown) -> list[str]:
    """A total behind ``label``, and what each component takes of it, in two lines where many do."""
    parts = [
        f"{COMPONENT_WORDS[name]} {energy_text(part)}" for name, part in energy.by_component().items() if part
    ]
    first = f"{label}{energy_text(energy.total)}"
    if not parts:
        return [first]
    if len(parts) <= PARTS_OF_A_LINE:
        return [f"{first}: {', '.join(parts)}"]
    return [
        f"{first}: {', '.join(parts[:PARTS_OF_A_LINE])},",
        f"{'':<{len(label)}}{', '.join(parts[PARTS_OF_A_LINE:])}",
    ]


def energy_text(picojoules: float) -> str:
    """``1500`` as ``1.5 nJ``."""
    for unit, size in (("nJ", 1e3), ("uJ", 1e6), ("mJ", 1e9)):
        if picojoules < 1000 * size:
            return f"{picojoules / size:.1f} {unit}"
    return f"{picojoules / 1e12:,.1f} J"


def spatial_utilization(contractions: Sequence[ContractionSchedule]) -> float:
    """Utilization of several contractions together, weighted by their cycles on the cores."""
    cycles = sum(one.multiplier_cycles / one.utilization for one in contractions)
    return sum(one.multiplier_cycles for one in contractions) / cycles


def byte_text(count: int) -> str:
    """``1536`` as ``1.5 KiB``."""
    if count < 1024:
        return f"{count} B"
    for unit, size in (("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30)):
        if count < 1024 * size or unit == "GiB":
            return f"{count / size:.1f} {unit}"
    raise AssertionError("the last unit takes every count")
