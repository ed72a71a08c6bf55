"""``flexc plot``: figures for papers."""

from __future__ import annotations

from pathlib import Path

import click

from flexc.cli.progress import working

output_option = click.option(
    "-o", "--output", required=True, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
    help="File to write: .svg, .pdf or .png.",
)  # fmt: skip


@click.group("plot", short_help="Draw rooflines, speed-ups and zero-setting errors as PNG, SVG or PDF.")
def plot() -> None:
    """Draw figures for papers (needs matplotlib). What rests on assumed hardware is marked so.

    \b
    Examples:
      flexc plot roofline resnet18.flexc -o roofline.svg
      flexc compare resnet18.onnx --train --batch 64 --json > compared.json
      flexc plot speedup compared.json -o speedup.pdf
      flexc plot zse fp12-run fp16-run -o zse.svg
    """


@plot.command("roofline")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@output_option
@click.option(
    "--label", "labels", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Write the names of the N groups that take longest beside their points.",
)  # fmt: skip
def roofline(folder: Path, output: Path, labels: int) -> None:
    """Draw the roofline of the artefact in DIR: a roof for each mode, a point for each group of ops."""
    from flexc.analysis.plotting.roofline import plot_roofline

    with working("drawing"):
        plot_roofline(folder, output, labels)
    click.echo(f"wrote {output}")


@plot.command("speedup")
@click.argument("comparison", metavar="COMPARISON.json", type=click.Path(path_type=Path))
@output_option
@click.option(
    "--of", type=click.Choice(["speed", "energy"]), default="speed", show_default=True,
    help="The ratio to draw.",
)  # fmt: skip
@click.option(
    "--policy", "policies", multiple=True, metavar="NAME",
    help="A policy to draw; may be repeated. All of the comparison without it.",
)  # fmt: skip
def speedup(comparison: Path, output: Path, of: str, policies: tuple[str, ...]) -> None:
    """Draw the ratios that `flexc compare --json` printed: bars by model and baseline, with geometric means.

    Lines on the bars are ranges over assumed parameters; the papers' range is shown as their claim.
    """
    from flexc.analysis.plotting.speedup import plot_speedup

    plot_speedup(comparison, output, of, policies)
    click.echo(f"wrote {output}")


@plot.command("zse")
@click.argument("runs", metavar="RUN..", nargs=-1, required=True, type=click.Path(path_type=Path))
@output_option
def zse(runs: tuple[Path, ...], output: Path) -> None:
    """Draw the zero-setting errors of training runs by epoch, a panel a run."""
    from flexc.analysis.plotting.zero_setting import plot_zero_setting

    plot_zero_setting(runs, output)
    click.echo(f"wrote {output}")
