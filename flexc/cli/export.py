"""``flexc export``: the model that a run has trained, as plain ONNX."""

from __future__ import annotations

from pathlib import Path

import click

from flexc.exporter.export import onnx_model, same_but_for_batch
from flexc.output_file import write_file
from flexc.training.result import result_of


@click.command("export", short_help="Write the model that a run has trained as ONNX.")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "-o", "--output", required=True, metavar="FILE.onnx", type=click.Path(path_type=Path),
    help="File to write; one that is there is replaced.",
)  # fmt: skip
def export(run: Path, output: Path) -> None:
    """Write the model trained in the folder RUN, with the weights of its last checkpoint, as an ONNX model.

    The model is fp32 and of standard operators. Batch norms have their running statistics; LightNorm's ranges
    become variances that give the same scale, with an epsilon of 0. The batch stays open where it was.

    \b
    Example:
      flexc export run -o trained.onnx
    """
    found = result_of(run)
    is_open = found.larger is not None and same_but_for_batch(
        found.untrained, found.batch, found.larger, found.batch + 1
    )
    model = onnx_model(found.graph, open_batch=found.batch if is_open else None)
    write_file(output, lambda path: path.write_bytes(model.SerializeToString(deterministic=True)))
    click.echo(f"wrote {output}: the weights behind step {found.step}")
