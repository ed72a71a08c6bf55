"""The ratios of a comparison as bars: a panel a policy, a group of bars a model, a bar a baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from flexc.analysis.comparison.result import (
    CLAIMED_ENERGY,
    CLAIMED_SPEED,
    Comparison,
    MeanRow,
    Range,
    RatioRow,
)
from flexc.analysis.comparison.stored import read_comparison
from flexc.analysis.comparison.text import iso_words
from flexc.diagnostics import Place, error
from flexc.figure_file import check_figure, legend_below, literal, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES = 2.1
ROUND_PANELS_INCHES = 2.2
LEAST_INCHES = 6.4
BAR_INCHES = 0.13
GROUP_SHARE = 0.8
"""Share of the room of a model that its bars take."""
CLAIMANT = "flexblock"
"""The target that the papers' claim is about, in training."""
CHARACTERS_PER_INCH = 14
NAME_CHARACTERS = 40
"""Longer names of models and machines are shown without their middle."""


@dataclass(frozen=True)
class Ratio:
    """One of the two ratios of a comparison: how it is called, where it is found, what the papers claim."""

    words: str
    pick: Callable[[RatioRow | MeanRow], Range]
    claimed: tuple[float, float]


RATIOS: Mapping[str, Ratio] = {
    "speed": Ratio("Speed-up", lambda row: row.speedup, CLAIMED_SPEED),
    "energy": Ratio("Energy ratio", lambda row: row.energy_ratio, CLAIMED_ENERGY),
}


def plot_speedup(source: Path, output: Path, of: str = "speed", wanted: Sequence[str] = ()) -> None:
    """Draws a ratio, ``speed`` or ``energy``, of the comparison in ``source``, under the policies ``wanted``
    or all.

    Raises CompileError: FX558 for what is no comparison, FX557 for one without ratios or without a policy
    that is wanted, and those of :func:`~flexc.figure_file.write_figure`.
    """
    check_figure(output)
    found = read_comparison(source)
    if not found.ratios:
        raise error(
            "FX557",
            "the comparison has no ratios to draw",
            place=Place(str(source)),
            hint="compare more than one of --targets",
        )
    there = dict.fromkeys(row.policy for row in found.ratios)
    policies = list(dict.fromkeys(wanted or there))
    missing = [policy for policy in policies if policy not in there]
    if missing:
        raise error(
            "FX557",
            f"the comparison has no ratios of policy '{missing[0]}'",
            place=Place(str(source)),
            hint=f"its policies: {', '.join(there)}",
        )
    rows = [row for row in found.ratios if row.policy in policies]
    bars = (len({row.model for row in rows}) + 1) * len({row.against for row in rows})
    size = (max(LEAST_INCHES, 1.5 + BAR_INCHES * bars), ROUND_PANELS_INCHES + PANEL_INCHES * len(policies))
    write_figure(output, size, lambda figure: draw_ratios(figure, found, RATIOS[of], policies))


def draw_ratios(figure: Figure, found: Comparison, ratio: Ratio, policies: Sequence[str]) -> None:
    """All panels, with the machines compared, what is held equal, and the claim as a claim."""
    target = found.ratios[0].target
    models = list(dict.fromkeys(row.model for row in found.ratios if row.policy in policies))
    panels = figure.subplots(len(policies), sharex=True, sharey=True, squeeze=False)[:, 0]
    for panel, policy in zip(panels, policies, strict=True):
        rows = [row for row in found.ratios if row.policy == policy]
        means = [row for row in found.means if row.policy == policy]
        _draw_panel(panel, models, rows, means, ratio)
        if found.train and target == CLAIMANT:
            low, high = ratio.claimed
            panel.axhspan(
                low, high, color="0.9", zorder=0,
                label=f"FlexBlock paper's claim, {low} to {high}: not a figure of this comparison",
            )  # fmt: skip
        panel.set_title(literal(policy))
        panel.set_ylabel(f"{ratio.words.lower()}\nof {literal(target, NAME_CHARACTERS)}")
    legend_below(figure, panels)
    figure.suptitle(_title(found, ratio, target, figure.get_figwidth()), fontsize=9)


def _title(found: Comparison, ratio: Ratio, target: str, width_inches: float) -> str:
    step = "a training step" if found.train else "an inference"
    names = ", ".join(dict.fromkeys([target, *(row.against for row in found.ratios)]))
    lines = (
        f"{ratio.words} of {target} in {step}, above 1 {target} is ahead (assumed: {names})",
        f"{found.batchnorm} batch norm on both sides; equal: {iso_words(found.iso)}",
        *(["lines: ranges over assumed parameters, each varied alone"] if found.varied else []),
    )
    return "\n".join(fill(literal(line), int(width_inches * CHARACTERS_PER_INCH)) for line in lines)


def _draw_panel(
    panel: Axes, models: Sequence[str], rows: Sequence[RatioRow], means: Sequence[MeanRow], ratio: Ratio
) -> None:
    against = list(dict.fromkeys(row.against for row in rows))
    width = GROUP_SHARE / len(against)
    for number, name in enumerate(against):
        ranges = {models.index(row.model): ratio.pick(row) for row in rows if row.against == name}
        ranges |= {len(models): ratio.pick(row) for row in means if row.against == name}
        shift = (number - (len(against) - 1) / 2) * width
        values = [found.nominal for found in ranges.values()]
        errors = [
            [found.nominal - found.low for found in ranges.values()],
            [found.high - found.nominal for found in ranges.values()],
        ]
        panel.bar(
            [place + shift for place in ranges],
            [value - 1 for value in values],
            width,
            bottom=1.0,
            yerr=errors,
            error_kw={"linewidth": 0.5},
            color=f"C{number}",
            label=f"against {literal(name, NAME_CHARACTERS)}",
        )
    panel.axhline(1.0, color="black", linewidth=0.8)
    panel.axvline(len(models) - 0.5, color="0.5", linewidth=0.5, linestyle=":")
    panel.set_yscale("log", base=2)
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.set_xlim(-0.6, len(models) + 0.6)
    names = [*(literal(model, NAME_CHARACTERS) for model in models), "geometric mean"]
    panel.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    panel.grid(axis="y", linewidth=0.3)
