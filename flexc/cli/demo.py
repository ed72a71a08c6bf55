"""``flexc demo``: a trained classifier in every precision, on both back ends."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from flexc.analysis.text_direction_demo import Demonstration, demonstrate, find_model
from flexc.cli.progress import working_on
from flexc.datasets.text_direction import render_lines
from flexc.versioned_json import versioned_json

SCHEMA = "flexc.demo"
SCHEMA_VERSION = 1


@click.command(
    "demo", short_help="Compile a trained classifier in every precision, run it on both back ends."
)
@click.option(
    "-o", "--output", default="demo-out", show_default=True, metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False), help="Folder for the artefacts, one a precision.",
)  # fmt: skip
@click.option(
    "--model", "model_path", metavar="FILE", type=click.Path(path_type=Path),
    help="The classifier, if not the one in the checkout's models folder.",
)  # fmt: skip
@click.option("--lines", default=300, show_default=True, type=click.IntRange(min=2), help="Lines to render.")
@click.option("--batch", default=20, show_default=True, type=click.IntRange(min=1), help="Lines of one run.")
@click.option("--seed", default=0, show_default=True, help="Seed of the rendered lines.")
@click.option("--target", default="flexblock", show_default=True, metavar="NAME|FILE", help="Machine.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def demo(
    output: Path, model_path: Path | None, lines: int, batch: int, seed: int, target: str, as_json: bool
) -> None:
    """Compile a trained text-direction classifier (MobileNetV3-like, 35 batch norms) for the machine.

    Renders lines of text, half of them upside down, and prints for each precision: the accuracy beside
    onnxruntime's, whether the executor and the simulated instruction stream agree in every byte, and the
    cycles of a line. The artefacts stay in DIR, for `flexc inspect DIR/FB16`.
    """
    if lines % batch:
        raise click.UsageError(f"--lines must be a multiple of --batch, but {lines} is none of {batch}")
    model = find_model(model_path)
    with working_on("rendering") as progress:
        data = render_lines(lines, seed=seed)
        found = demonstrate(model, data, batch=batch, target=target, output=output, progress=progress)
    if as_json:
        click.echo(versioned_json(SCHEMA, SCHEMA_VERSION, asdict(found)), nl=False)
        return
    for line in table(found):
        click.echo(line)
    click.echo(f"\nartefacts in {output}; see where the cycles go: flexc inspect {output}/FB16")


def table(found: Demonstration) -> list[str]:
    """The lines of the printed table."""
    lines = [
        f"{found.lines} rendered lines of text; onnxruntime reads the direction of "
        f"{found.onnxruntime_accuracy:.1%}",
        "",
        f"{'precision':<22} {'accuracy':>8} {'as onnxruntime':>14}  {'executor = stream':<26} "
        f"{'cycles a line':>13} {'us a line':>9}",
    ]
    for row in found.rows:
        if row.bytes_equal:
            agreement = f"every byte, {row.tensors_equal} tensors"
        else:
            agreement = f"in fp32 bounds, {row.tensors_equal} tensors" if row.tensors_equal else "NO"
        lines.append(
            f"{row.label:<22} {row.accuracy:>8.1%} {row.same_as_onnxruntime:>14.1%}  {agreement:<26} "
            f"{row.cycles_per_line:>13,.0f} {row.microseconds_per_line:>9.1f}"
        )
    lines += [
        "",
        f"Cycles are those of the target '{found.target}', all of whose rates are assumed. fp32 contractions "
        "run on its vector unit.",
        "Four-bit mantissas want fine-tuning: FB12 is shown as it comes, after training in fp32.",
    ]
    return lines
