"""A training step's schedule by the passes of its layers, and what it keeps for the backward pass."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flexc.analysis.inspection import byte_text
from flexc.passes.differentiation.training_passes import STEP_PARTS
from flexc.schedule import GroupSchedule, Schedule

PART_TITLES = {
    "forward": "forward",
    "local_grad": "local gradient",
    "weight_grad": "weight gradient",
    "update": "update",
}


@dataclass(frozen=True)
class PartTotals:
    """Sums over the groups of one part of a step; cycles of groups that overlap count for each."""

    groups: int
    macs: int
    cycles: int
    moved_bytes: int
    energy_pj: float


def is_training_step(schedule: Schedule) -> bool:
    """Whether any group is no part of a forward pass."""
    return any(group.step_part != "forward" for group in schedule.groups)


def by_part(groups: Sequence[GroupSchedule]) -> Iterator[tuple[str, list[GroupSchedule]]]:
    """Each part that has groups, and these in the order that they are given in."""
    for part in STEP_PARTS:
        found = [group for group in groups if group.step_part == part]
        if found:
            yield part, found


def totals(groups: Sequence[GroupSchedule]) -> PartTotals:
    """Sums over groups."""
    return PartTotals(
        len(groups),
        sum(group.macs for group in groups),
        sum(group.cycles for group in groups),
        sum(group.read_bytes + group.written_bytes for group in groups),
        sum(group.energy_pj for group in groups),
    )


def footprint(schedule: Schedule) -> str:
    """DRAM at its fullest, in a line."""
    dram = schedule.dram
    kept = len(dram.kept_for_backward)
    parts = [f"{byte_text(dram.fixed_bytes)} constants, inputs and outputs"]
    if kept:
        parts.append(f"{byte_text(dram.kept_bytes)} kept for the backward pass in {kept} tensors")
    return (
        f"DRAM in use: {byte_text(dram.peak_bytes)} of {byte_text(dram.capacity_bytes)} at most; "
        + ", ".join(parts)
    )


def shares(schedule: Schedule) -> str:
    """What share of the cycles of all groups each part has, in a line."""
    cycles = sum(group.cycles for group in schedule.groups) or 1
    parts = ((part, totals(groups).cycles / cycles) for part, groups in by_part(schedule.groups))
    return "cycles of groups by pass: " + ", ".join(
        f"{PART_TITLES[part]} {share:.0%}" for part, share in parts
    )


def kept_lines(schedule: Schedule) -> list[str]:
    """A line for each tensor that is kept for the backward pass, and a total."""
    kept = schedule.dram.kept_for_backward
    width = max([len(one.tensor) for one in kept] + [6])
    lines = [f"{'tensor':<{width}}  {'format':<6}  {'size':>10}  made by"]
    lines += [
        f"{one.tensor:<{width}}  {one.format:<6}  {byte_text(one.size_bytes):>10}  {one.node or 'the loss'}"
        for one in kept
    ]
    return [*lines, f"{'total':<{width}}  {'':<6}  {byte_text(schedule.dram.kept_bytes):>10}"]


def kept_csv(schedule: Schedule) -> str:
    """A row for each tensor that is kept for the backward pass, with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("tensor", "format", "bytes", "node", "op_type", "node_index"))
    for one in schedule.dram.kept_for_backward:
        node = (one.node.name, one.node.op_type, one.node.index) if one.node else ("", "", "")
        writer.writerow((one.tensor, one.format, one.size_bytes, *node))
    return text.getvalue()
