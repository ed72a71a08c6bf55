"""``flexc run``: an artefact and inputs in, outputs out, and how far they are from a reference."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from flexc.analysis.compare import compare_outputs, run_onnxruntime
from flexc.analysis.layers import compare_layers
from flexc.array_files import read_npz, write_npy, write_npz
from flexc.artefact import sha256_of
from flexc.cli.program_lines import described
from flexc.cli.progress import working
from flexc.cli.run_report import RunReport
from flexc.diagnostics import Place, error
from flexc.program import Engine, Program, load


@click.command("run", short_help="Run an artefact, and compare it with onnxruntime.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-i", "--input", "input_path", required=True, metavar="IN.npz", type=click.Path(path_type=Path),
    help="Arrays of the model's inputs, by name; without weights and state, a training step has its first.",
)  # fmt: skip
@click.option(
    "-o", "--output", "output_path", metavar="OUT.npz", type=click.Path(path_type=Path),
    help="File to write the outputs to, by name.",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(["executor", "stream", "both"]), default="executor", show_default=True,
    help="The NumPy program, the simulated instruction stream, or both: then every tensor that both hold is "
    "compared, and the first difference is an error.",
)  # fmt: skip
@click.option(
    "--compare", type=click.Choice(["onnxruntime"]),
    help="Print how far each output is from onnxruntime's, and each layer from the fp32 profile's.",
)  # fmt: skip
@click.option(
    "--model", "model_path", metavar="FILE", type=click.Path(path_type=Path),
    help="The ONNX file to compare with, if it is no longer where it was compiled from.",
)  # fmt: skip
@click.option(
    "--dump-tensors", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
    help="Write every intermediate to DIR/name.npy; quantized ones as .mantissa and .exponent.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def run(
    folder: Path,
    input_path: Path,
    output_path: Path | None,
    engine: Engine,
    compare: str | None,
    model_path: Path | None,
    dump_tensors: Path | None,
    as_json: bool,
) -> None:
    """Run the artefact in the folder DIR.

    \b
    Examples:
      flexc run resnet18.flexc --input in.npz --output out.npz
      flexc run resnet18.flexc --input in.npz --engine both
      flexc run resnet18.flexc --input in.npz --compare onnxruntime --json
    """
    program = load(folder)
    if compare is not None and program.options.training is not None:
        raise error(
            "FX536",
            "onnxruntime cannot run a training step",
            place=Place(str(folder)),
            hint="compare the model without --train",
        )
    inputs = {**program.first_state, **read_npz(input_path)}
    with working(f"running {folder.name} ({engine})"):
        result = program.run_engine(inputs, engine, tensors=dump_tensors is not None)
    if output_path is not None:
        write_npz(output_path, result.outputs)
    if dump_tensors is not None:
        write_npy(dump_tensors, result.tensors)

    outputs = layers = None
    if compare is not None:
        # Imported here: a run alone needs no compiler.
        from flexc.api import compile_reference

        source = source_model(program, model_path)
        with working("running onnxruntime and the fp32 profile"):
            outputs = compare_outputs(run_onnxruntime(source, inputs), result.outputs)
            layers = compare_layers(program, compile_reference(program, source), inputs)
    report = RunReport(engine, result.agreement, outputs, layers)
    if as_json:
        click.echo(report.to_json(), nl=False)
    else:
        for line in described(program, program.outputs, "output"):
            click.echo(line)
        if output_path is not None:
            click.echo(f"wrote {output_path}")
        for line in report.lines():
            click.echo(line)
    if result.agreement is not None and result.agreement.difference is not None:
        sys.exit(1)


def source_model(program: Program, model_path: Path | None) -> Path:
    """The ONNX file that ``program`` was compiled from, or ``model_path`` in its place.

    Raises CompileError: FX521 where there is no such file, FX522 where its bytes are others.
    """
    path = Path(program.source.path) if model_path is None else model_path
    hint = "name the file that was compiled with --model"
    if not path.is_file():
        raise error("FX521", "the model to compare with is not there", place=Place(str(path)), hint=hint)
    if sha256_of(path) != program.source.sha256:
        message = "the file is not the model that was compiled: its sha256 is another"
        raise error("FX522", message, place=Place(str(path)), hint=hint)
    return path
