"""The tables of docs/comparison.md: a column a machine, rows where the first target fares worst on top.

A policy that costs accuracy links what training reached with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from flexc.analysis.comparison.result import (
    ACCURACY,
    Comparison,
    MeanRow,
    Range,
    RatioRow,
    geometric_mean,
)
from flexc.analysis.comparison.text import ResultTable, range_text

TRAINED = "training_results.md"
Pick = Callable[[RatioRow | MeanRow], Range]


def speed_of(row: RatioRow | MeanRow) -> Range:
    """The speed-up of a row."""
    return row.speedup


def energy_of(row: RatioRow | MeanRow) -> Range:
    """The energy ratio of a row."""
    return row.energy_ratio


def ratio_matrix(comparison: Comparison, pick: Pick) -> ResultTable:
    """A row for each model and policy, by their geometric mean."""
    keys = dict.fromkeys((row.model, row.policy) for row in comparison.ratios)
    found = [(key, [row for row in comparison.ratios if (row.model, row.policy) == key]) for key in keys]
    found.sort(key=lambda entry: geometric_mean([pick(row).nominal for row in entry[1]]))
    against = _against(comparison.ratios)
    return ResultTable(
        "by model and policy",
        ("model", "policy", *against),
        tuple((model, _linked(policy), *_cells(rows, against, pick)) for (model, policy), rows in found),
        len(against),
    )


def mean_matrix(comparison: Comparison, pick: Pick) -> ResultTable:
    """Geometric means over the models: a row for each policy."""
    against = _against(comparison.means)
    policies = list(dict.fromkeys(row.policy for row in comparison.means))
    found = [(policy, [row for row in comparison.means if row.policy == policy]) for policy in policies]
    found.sort(key=lambda entry: geometric_mean([pick(row).nominal for row in entry[1]]))
    return ResultTable(
        "geometric means",
        ("policy", *against),
        tuple((_linked(policy), *_cells(rows, against, pick)) for policy, rows in found),
        len(against),
    )


def pass_matrix(comparison: Comparison) -> ResultTable:
    """Geometric means of speed-ups by policy and pass of the contractions."""
    passes = ("forward", "local gradient", "weight gradient")
    against = _against(comparison.ratios)
    policies = list(dict.fromkeys(row.policy for row in comparison.ratios))
    rows = []
    for policy in policies:
        for each in passes:
            cells = (
                geometric_mean(
                    [
                        row.speedup_by_pass[each]
                        for row in comparison.ratios
                        if (row.policy, row.against) == (policy, other)
                    ]
                )
                for other in against
            )
            rows.append((_linked(policy), each, *(f"{cell:.2f}" for cell in cells)))
    return ResultTable("by pass", ("policy", "pass", *against), tuple(rows), len(against))


def iso_table(found: Sequence[Comparison]) -> list[str]:
    """Geometric means of speed-ups under each way of holding things equal."""
    against = _against(found[0].means)
    header = ["equal", "batch norm", "policy", *against]
    rows = ["| " + " | ".join(header) + " |", "|---|---|---|" + "---:|" * len(against)]
    for one in found:
        for policy in dict.fromkeys(row.policy for row in one.means):
            means = {row.against: row.speedup.nominal for row in one.means if row.policy == policy}
            cells = " | ".join(f"{means[each]:.2f}" for each in against)
            rows.append(f"| {one.iso} | {one.batchnorm} | {_linked(policy)} | {cells} |")
    return rows


def varied_table(found: Comparison) -> list[str]:
    """How many rows have their least, and their greatest, speed-up at each variation."""
    lows = Counter(row.speedup.low_at for row in found.ratios)
    highs = Counter(row.speedup.high_at for row in found.ratios)
    rows = ["| parameter | least | greatest |", "|---|---:|---:|"]
    return [*rows, *(f"| {at} | {lows[at]} | {highs[at]} |" for at in found.varied)]


def _linked(policy: str) -> str:
    return f"[{policy}]({TRAINED})" if any(policy.startswith(key) for key in ACCURACY) else policy


def _against(rows: Sequence[RatioRow | MeanRow]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.against for row in rows))


def _cells(rows: Sequence[RatioRow | MeanRow], against: Sequence[str], pick: Pick) -> list[str]:
    by_name = {row.against: range_text(pick(row)) for row in rows}
    return [by_name[name] for name in against]
