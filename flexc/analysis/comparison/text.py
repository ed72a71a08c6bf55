"""A comparison as tables, for terminals and for documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flexc.analysis.comparison.phases import Phase
from flexc.analysis.comparison.result import Comparison, MachineRow, Range, RatioRow


@dataclass(frozen=True)
class ResultTable:
    """A table with a title; the last ``numbers`` columns hold numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: int

    def markdown(self) -> list[str]:
        """Lines of a Markdown table, without the title."""
        words = len(self.header) - self.numbers
        rule = ["---"] * words + ["---:"] * self.numbers
        return ["| " + " | ".join(cells) + " |" for cells in (self.header, rule, *self.rows)]


def tables(comparison: Comparison) -> list[ResultTable]:
    """Arrays, machines, and where there is more than one, ratios and their means."""
    found = [arrays(comparison), _machines(comparison)]
    if len({row.batchnorm for row in comparison.machines}) > 1:
        found.append(lightnorm_share(comparison))
    if comparison.ratios:
        found += [_ratios(comparison), _means(comparison)]
    return found


def notes(comparison: Comparison) -> list[str]:
    """What has to be said beside the figures."""
    found = [
        "Every figure rests on assumed values of the targets (`flexc targets NAME`); all are closed forms, "
        "none is measured."
    ]
    if comparison.ratios:
        found += [
            f"Ratios: above 1 the first target is ahead; {comparison.batchnorm} batch norm on both sides; "
            f"equal: {iso_words(comparison.iso)}.",
            comparison.claim,
        ]
    if comparison.ratios and comparison.varied:
        found.append(f"Ranges, each parameter varied alone: {', '.join(comparison.varied)}.")
    found += dict.fromkeys(row.accuracy for row in comparison.machines if row.accuracy)
    return found


def range_text(found: Range) -> str:
    """``1.80 (1.32-2.41)``; the nominal value alone where nothing was varied."""
    if found.low == found.high:
        return f"{found.nominal:.2f}"
    return f"{found.nominal:.2f} ({found.low:.2f}-{found.high:.2f})"


def iso_words(iso: str) -> str:
    """What is equal on both sides, in words."""
    words = {"datapath": "area of the whole datapath", "multipliers": "area of the multipliers"}
    equal = words.get(iso, "arrays as their files have them")
    return f"{equal}, buffer bytes, DRAM, vector lanes"


def arrays(comparison: Comparison) -> ResultTable:
    """Sizes of the arrays and areas of their datapaths."""
    parts = tuple(comparison.arrays[0].area_mm2)
    return ResultTable(
        "datapaths, mm2 (assumed)",
        ("target", "array", *(part.replace("_", " ") for part in parts), "total"),
        tuple(
            (
                row.target,
                row.array,
                *(f"{row.area_mm2[part]:.2f}" for part in parts),
                f"{row.total_mm2:.2f}",
            )
            for row in comparison.arrays
        ),
        len(parts) + 1,
    )


def _machines(comparison: Comparison) -> ResultTable:
    return ResultTable(
        "cycles, time, traffic and energy (assumed targets)",
        (
            *("model", "target", "policy", "batch norm"),
            *("Mcycles", "ms", "DRAM GB", "mJ", "BN cycles", "BN bytes", "BN energy"),
        ),
        tuple(
            (
                *(row.model, row.target, row.policy or "-", row.batchnorm),
                f"{row.cycles / 1e6:.2f}",
                f"{row.milliseconds:.2f}",
                f"{row.dram_bytes / 1e9:.2f}",
                f"{row.energy_pj / 1e9:.1f}",
                *batch_norm_shares(row),
            )
            for row in comparison.machines
        ),
        7,
    )


def batch_norm_shares(row: MachineRow) -> tuple[str, str, str]:
    """Batch norm's share of cycles, bytes and energy."""
    norm = row.phase(str(Phase.BATCH_NORM))
    return (
        f"{norm.cycles / row.cycles:.0%}",
        f"{norm.dram_bytes / row.dram_bytes:.0%}",
        f"{norm.energy_pj / row.energy_pj:.0%}",
    )


def lightnorm_share(comparison: Comparison) -> ResultTable:
    """Batch norm in fp32 and by LightNorm on the same target: cycles, bytes, energy, share of the step."""
    rows = []
    for row in comparison.machines:
        of_point = [
            other
            for norm in ("fp32", "lightnorm")
            for other in comparison.machines
            if (other.model, other.target, other.policy, other.batchnorm)
            == (row.model, row.target, row.policy, norm)
        ]
        if row is of_point[0] and len(of_point) == 2:
            rows.append((row.model, row.target, row.policy, *_norm_cells(*of_point)))
    return ResultTable(
        "batch norm in fp32 -> by LightNorm (assumed targets)",
        (
            *("model", "target", "policy"),
            *("Mcycles", "GB", "mJ", "share of cycles", "of bytes", "of energy", "step faster"),
        ),
        tuple(rows),
        7,
    )


def _norm_cells(fp32: MachineRow, lightnorm: MachineRow) -> tuple[str, ...]:
    before, after = (one.phase(str(Phase.BATCH_NORM)) for one in (fp32, lightnorm))
    shares = zip(batch_norm_shares(fp32), batch_norm_shares(lightnorm), strict=True)
    return (
        f"{before.cycles / 1e6:.2f} -> {after.cycles / 1e6:.2f}",
        f"{before.dram_bytes / 1e9:.2f} -> {after.dram_bytes / 1e9:.2f}",
        f"{before.energy_pj / 1e9:.1f} -> {after.energy_pj / 1e9:.1f}",
        *(f"{one} -> {other}" for one, other in shares),
        f"{fp32.cycles / lightnorm.cycles:.2f}",
    )


def _ratios(comparison: Comparison) -> ResultTable:
    return ResultTable(
        "speed and energy against other targets, same batch norm (assumed targets)",
        (
            *("model", "target", "policy", "against"),
            *("speed-up", "energy", "forward", "local grad", "weight grad", "LightNorm's own gain"),
        ),
        tuple(
            tuple(_ratio_cells(row)) for row in sorted(comparison.ratios, key=lambda one: one.speedup.nominal)
        ),
        6,
    )


def _ratio_cells(row: RatioRow) -> Iterator[str]:
    yield from (row.model, row.target, row.policy, row.against)
    yield from (range_text(row.speedup), range_text(row.energy_ratio))
    for phase in (Phase.FORWARD, Phase.LOCAL_GRAD, Phase.WEIGHT_GRAD):
        found = row.speedup_by_pass.get(str(phase))
        yield "-" if found is None else f"{found:.2f}"
    yield "-" if row.lightnorm_gain is None else f"{row.lightnorm_gain:.2f}"


def _means(comparison: Comparison) -> ResultTable:
    return ResultTable(
        "geometric means over the models (assumed targets)",
        ("target", "policy", "against", "speed-up", "energy"),
        tuple(
            (row.target, row.policy, row.against, range_text(row.speedup), range_text(row.energy_ratio))
            for row in sorted(comparison.means, key=lambda one: one.speedup.nominal)
        ),
        2,
    )
