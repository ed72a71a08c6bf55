"""The page of the report: what its template, style and script beside this file are filled with.

The page loads nothing: plotly's bundle, style, script and all figures are in it. Names of the user's appear
as text of elements, escaped; in figures, escaped for plotly; and in the JSON of the script, where no `<` is.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from flexc.analysis.inspection import byte_text, energy_text, spatial_utilization
from flexc.analysis.layer_details import details
from flexc.analysis.report import figures
from flexc.analysis.report.energy_figures import components_figure, layers_figure
from flexc.analysis.report.mapping_picture import mapping_figure
from flexc.analysis.report.training_run import course_of
from flexc.analysis.roofline import mantissa_bits, mode_name, roofline_of
from flexc.backends.stream.activity import activity_of
from flexc.ir import bfp
from flexc.ir.mapping import DIMS
from flexc.ir.mapping import Mapping as LoopNest
from flexc.ir.placement import group_of
from flexc.ir.program import Graph
from flexc.mapping.problem import ContractionProblem
from flexc.passes.map_contractions import mappings_of, problems_of
from flexc.program import Program
from flexc.schedule import GroupSchedule, Schedule
from flexc.target.machine import Target


@dataclass(frozen=True)
class _Column:
    """A column of the layer table."""

    title: str
    number: bool
    assumed: bool


COLUMNS = (
    _Column("#", True, False),
    _Column("layer", False, False),
    _Column("part", False, False),
    _Column("operators", False, False),
    _Column("formats", False, False),
    _Column("MACs", True, False),
    _Column("cycles", True, True),
    _Column("spatial", True, True),
    _Column("end to end", True, True),
    _Column("limit", False, True),
    _Column("DRAM bytes", True, True),
    _Column("energy, nJ", True, True),
)


def report_page(program: Program, run: Path | None = None) -> str:
    """The report of an artefact as HTML; ``run`` is the folder of a training run to show with it.

    Raises CompileError FX570 for a folder that is no run or has no epoch yet.
    """
    target = program.target
    schedule = program.schedule
    drawn: dict[str, go.Figure] = {
        "roofline": figures.roofline_figure(roofline_of(schedule, target)),
        "energy": components_figure(schedule),
        "energy-of-layers": layers_figure(schedule),
        "timeline": figures.timeline_figure(schedule, activity_of(program.stream, target), target),
    }
    courses = {} if run is None else course_of(run)
    drawn |= courses
    layers, pictures = _layers(program, schedule, target)
    assumed = figures.assumed(target.name)
    content = {
        "figures": {name: json.loads(figure.to_json()) for name, figure in drawn.items()},
        "layers": layers,
        "pictures": {name: json.loads(figure.to_json()) for name, figure in pictures.items()},
    }
    return Template(_resource("page.html")).substitute(
        title=html.escape(f"{Path(program.source.path).stem} on {target.name}, {program.options.policy}"),
        target=html.escape(target.name),
        assumed=assumed,
        style=_resource("page.css"),
        summary="\n".join(_summary(program, assumed)),
        columns="\n".join(_header(column, assumed) for column in COLUMNS),
        rows="\n".join(map(_row, schedule.groups)),
        training=_training(courses),
        data=script_json(content),
        plotly=get_plotlyjs(),
        script=_resource("page.js"),
    )


def script_json(content: object) -> str:
    """JSON that may stand in a script element: no markup can begin or end in it."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _resource(name: str) -> str:
    return resources.files("flexc.analysis.report").joinpath(name).read_text(encoding="utf-8")


def _summary(program: Program, assumed: str) -> Iterator[str]:
    schedule = program.schedule
    counted = "counted in the model"
    figures_of_program = (
        ("policy", program.options.policy, "chosen"),
        ("target", f"{schedule.target}, {schedule.clock_mhz:g} MHz", assumed),
        ("cycles", f"{schedule.cycles:,}", assumed),
        ("time", f"{schedule.milliseconds:.3f} ms", assumed),
        ("multiply-accumulates", f"{schedule.macs:,}", counted),
        ("multipliers at work while the cores compute", f"{schedule.spatial_utilization:.1%}", assumed),
        ("multipliers at work in all cycles", f"{schedule.end_to_end_utilization:.1%}", assumed),
        ("DRAM read", byte_text(schedule.read_bytes), assumed),
        ("DRAM written", byte_text(schedule.written_bytes), assumed),
        ("energy", energy_text(schedule.energy_pj), assumed),
        ("instructions", f"{schedule.instructions:,}", assumed),
    )
    for name, value, basis in figures_of_program:
        kind = ' class="assumed"' if basis == assumed else ""
        yield f"<tr><td>{name}</td><td>{html.escape(value)}</td><td{kind}>{basis}</td></tr>"


def _header(column: _Column, assumed: str) -> str:
    kind = "number" if column.number else "text"
    hint = f' title="{assumed}"' if column.assumed else ""
    return f'<th data-kind="{kind}"{hint}><button type="button">{html.escape(column.title)}</button></th>'


def _row(group: GroupSchedule) -> str:
    contractions = group.contractions
    modes = ", ".join(dict.fromkeys(mode_name(mantissa_bits(one)) for one in contractions))
    values: tuple[tuple[str, float], ...] = (
        (str(group.index), group.index),
        (group.label, 0),
        (figures.part_of(group), 0),
        (", ".join(dict.fromkeys(node.op_type for node in group.nodes)), 0),
        (modes, 0),
        (f"{group.macs:,}" if group.macs else "", group.macs),
        (f"{group.cycles:,}", group.cycles),
        _share(spatial_utilization(contractions) if contractions else None),
        _share(group.end_to_end_utilization if contractions else None),
        (group.limit, 0),
        (f"{group.read_bytes + group.written_bytes:,}", group.read_bytes + group.written_bytes),
        (f"{group.energy_pj / 1e3:,.1f}", group.energy_pj),
    )
    cells = (
        f'<td class="number" data-value="{value!r}">{html.escape(text)}</td>'
        if column.number
        else f"<td>{html.escape(text)}</td>"
        for column, (text, value) in zip(COLUMNS, values, strict=True)
    )
    return f'<tr data-group="{group.index}" tabindex="0" aria-selected="false">{"".join(cells)}</tr>'


def _share(share: float | None) -> tuple[str, float]:
    return ("", -1.0) if share is None else (f"{share:.1%}", share)


def _layers(
    program: Program, schedule: Schedule, target: Target
) -> tuple[dict[str, dict[str, Any]], dict[str, go.Figure]]:
    """What the page tells of each group when it is chosen, and the pictures of mappings by name."""
    mapped = _mappings_by_group(program.graph)
    pictures: dict[str, go.Figure] = {}
    layers = {}
    for group in schedule.groups:
        names = []
        for problem, mapping in mapped.get(group.index, ()):
            extents = ", ".join(str(problem.extent(dim)) for dim in DIMS)
            name = f"{problem.a_bits} x {problem.b_bits}, {extents}, {problem.longest_segment}, {mapping}"
            if name not in pictures:
                shape = target.pe_shape(problem.a_bits, problem.b_bits)
                pictures[name] = mapping_figure(problem, mapping, shape, target)
            names.append(name)
        layers[str(group.index)] = {
            "title": f"{group.label} ({figures.part_of(group)})",
            "details": "\n".join(details(group)),
            "pictures": names,
        }
    return layers, pictures


def _mappings_by_group(graph: Graph) -> dict[int, list[tuple[ContractionProblem, LoopNest]]]:
    """The contractions of each scheduled group that has any, in the order of the schedule."""
    found: dict[int, list[tuple[ContractionProblem, LoopNest]]] = {}
    for op in graph.main.body.block.ops:
        placed = group_of(op)
        if placed is not None and isinstance(op, bfp.CONTRACTIONS):
            found.setdefault(placed.index, []).extend(zip(problems_of(op), mappings_of(op), strict=True))
    return found


def _training(courses: Mapping[str, go.Figure]) -> str:
    if not courses:
        return ""
    places = "".join(f'<div id="{name}" class="figure"></div>' for name in courses)
    return f'<h2>Training run</h2>\n<div class="pair">{places}</div>'
