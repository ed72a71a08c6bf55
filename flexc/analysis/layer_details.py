"""Everything known of one group of a schedule, for a reader: engines, mappings, traffic, buffers."""

from __future__ import annotations

from flexc.analysis.inspection import byte_text, energy_lines
from flexc.schedule import ContractionSchedule, GroupSchedule, LoopLevel

UNITS = {"core": "cores", "PE": "PEs of a core", "unit": "units of a PE", "lane": "lanes of a unit"}
"""What a spatial level has many of."""
SEQUENTIAL = {
    "DRAM": "loops over tiles from DRAM",
    "buffer tile": "in the buffers of a core; the levels below share it out",
}


def details(group: GroupSchedule) -> list[str]:
    """Everything known of one group."""
    lines = [
        f"group {group.index} ({group.kind}): {', '.join(map(str, group.nodes)) or 'made by the compiler'}",
        f"  ops         {', '.join(group.ops)}",
        f"  cycles      {group.start_cycle:,} to {group.end_cycle:,} ({group.cycles:,}), "
        f"limited by {group.limit}",
        "  engines     "
        + ", ".join(f"{engine} {use.busy_cycles:,}" for engine, use in group.engines.items())
        + " cycles",
        *energy_lines("  energy      ", group.energy_by_component_pj),
    ]
    for contraction in group.contractions:
        lines += _contraction(contraction, group)
    lines += [
        f"  quantizes   {one.source} ({one.source_format}, {'from DRAM' if one.stored else 'as computed'}) "
        f"to {one.result}: {one.format}"
        for one in group.quantizations
    ]
    lines.append(f"  traffic     {'tensor':<40} {'read':>12} {'written':>12}")
    lines += [
        f"              {one.tensor:<40} {byte_text(one.read_bytes):>12} {byte_text(one.written_bytes):>12}"
        for one in group.traffic
    ]
    lines.append(f"  buffers     {'memory':<8} {'holds':<12} {'size':>12}  ring")
    lines += [
        f"              {one.memory:<8} {one.holds:<12} {byte_text(one.size_bytes):>12}  x{one.depth} "
        + ("in each core" if one.per_core else "over all cores")
        for one in group.buffers
    ]
    return lines


def _contraction(contraction: ContractionSchedule, group: GroupSchedule) -> list[str]:
    a, b = contraction.formats
    extents = ", ".join(f"{dim} {extent}" for dim, extent in contraction.extents.items() if extent > 1)
    streamed, held = ("b", "a") if contraction.mapping.startswith("stream b") else ("a", "b")
    return [
        f"  contraction {contraction.result}: a {a} x b {b}",
        f"  problem     {extents or 'all extents 1'}: {contraction.macs:,} MACs",
        f"  utilization {contraction.utilization:.1%} while the cores compute (loses most: "
        f"{contraction.limit}), {group.end_to_end_utilization:.1%} of the group's cycles",
        f"  mapping     {streamed} streams, {held} is held; parallel: side by side",
        *loop_nest(contraction),
    ]


def loop_nest(contraction: ContractionSchedule) -> list[str]:
    """The mapping as nested loops, outermost first, each with the level of the machine that runs it."""
    nest = [
        (f"    {'  ' * depth}{_verb(level)} {level.loops}", _meaning(level))
        for depth, level in enumerate(level for level in contraction.levels if level.loops)
    ]
    width = max((len(loops) for loops, _ in nest), default=0)
    return [f"{loops:<{width}}  {meaning}" for loops, meaning in nest]


def _verb(level: LoopLevel) -> str:
    if level.spatial:
        return "parallel"
    return "tile" if level.level == "buffer tile" else "for"


def _meaning(level: LoopLevel) -> str:
    if level.spatial:
        return f"{level.at_work} of {level.available} {UNITS[level.level]}"
    return SEQUENTIAL[level.level]
