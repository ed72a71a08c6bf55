"""``flexc export-onnx``: an artefact's quantized graph as ONNX."""

from __future__ import annotations

from pathlib import Path

import click

from flexc.exporter.quantized.export import quantized_model
from flexc.output_file import write_file
from flexc.program import load


@click.command("export-onnx", short_help="Write an artefact's quantized graph as ONNX.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, metavar="FILE.onnx", type=click.Path(path_type=Path),
    help="File to write; one that is there is replaced.",
)  # fmt: skip
def export_onnx(folder: Path, output: Path) -> None:
    """Write the quantized graph of the artefact in the folder DIR as an ONNX model that onnxruntime runs and
    Netron shows: kernels are functions of the model, made of standard operators, with the executor's bits.

    \b
    Example:
      flexc export-onnx resnet18.flexc -o quantized.onnx
    """
    found = quantized_model(load(folder).graph)
    write_file(output, lambda path: path.write_bytes(found.model.SerializeToString(deterministic=True)))
    functions = len(found.model.functions)
    click.echo(f"wrote {output}: {len(found.model.graph.node)} nodes, {functions} functions")
    if found.inexact:
        ops = ", ".join(f"{name} ({count})" for name, count in sorted(found.inexact.items()))
        click.echo(f"computed by onnxruntime's own arithmetic, perhaps with other last bits: {ops}")
