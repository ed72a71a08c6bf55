"""``flexc opt``: run passes on IR text or a model, and print the IR that comes out."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import click
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.utils.exceptions import ParseError, VerifyException

from flexc.cli.progress import show_remark
from flexc.diagnostics import Place, error
from flexc.importer import load_model
from flexc.ir.program import Graph, parse_module
from flexc.ir.weight_store import WeightStore
from flexc.output_file import write_file
from flexc.passes.base import Pass
from flexc.passes.manager import ALL_PASSES, run_pipeline
from flexc.passes.pipeline_text import parse_pipeline
from flexc.passes.registry import PASS_NAMES, pass_class
from flexc.passes.reproducer import reproducer_pipeline

STDIN = "-"
_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("file", required=False)
@click.option("-o", "--output", type=_PATH, help="Write the IR there instead of to stdout.")
@click.option("--pass-pipeline", "pipeline", help="Passes to run: name,name{option=value},...")
@click.option("--run-reproducer", is_flag=True, help="Run the pipeline that a reproducer.mlir names.")
@click.option("--weights", type=_PATH, help="A .safetensors file with the arrays that constants name.")
@click.option("--weights-output", type=_PATH, help="Write the weights that are left there.")
@click.option(
    "--print-ir-after", multiple=True, metavar="PASS|all", help="Print the IR after a pass to stderr."
)
@click.option(
    "--verify-each", is_flag=True, help="Verify the IR, and what passes say of it, after each pass."
)
@click.option("--dump-ir", type=_PATH, metavar="DIR", help="Write one numbered file a pass into DIR.")
@click.option("--timing", is_flag=True, help="Print a table of the time each pass took to stderr.")
@click.option(
    "--reproducer", type=_PATH, metavar="DIR", default=Path(), help="Where a crash leaves reproducer.mlir."
)
@click.option("--list-passes", is_flag=True, help="List the passes with their options, and do nothing else.")
def opt(
    file: str | None,
    output: Path | None,
    pipeline: str | None,
    run_reproducer: bool,
    weights: Path | None,
    weights_output: Path | None,
    print_ir_after: tuple[str, ...],
    verify_each: bool,
    dump_ir: Path | None,
    timing: bool,
    reproducer: Path,
    list_passes: bool,
) -> None:
    """Run passes on FILE: IR text (- for stdin), or a .onnx model.

    \b
    flexc opt model.onnx --pass-pipeline canonicalize,insert-quantize{policy=FB12}
    flexc opt graph.mlir --weights weights.safetensors --pass-pipeline fold-quantized-weights
    flexc opt reproducer.mlir --run-reproducer
    """
    if list_passes:
        click.echo("\n".join(describe_pass(pass_class(name)) for name in PASS_NAMES))
        return
    if file is None:
        raise click.UsageError("FILE is missing: the IR to run passes on, or - for stdin")
    if run_reproducer and pipeline is not None:
        raise click.UsageError("--run-reproducer brings its own pipeline: leave out --pass-pipeline")
    _check_pass_names(print_ir_after)
    if file.endswith(".onnx"):
        passes = parse_pipeline(pipeline or "")
        training = any(one.name == "differentiate" for one in passes)
        graph = load_model(Path(file), training=training, remark=show_remark)
    else:
        text, name = _read(file)
        passes = reproducer_pipeline(text, name) if run_reproducer else parse_pipeline(pipeline or "")
        graph = Graph(parse_text(text, name), _weights(weights), name)
    run_pipeline(
        graph,
        passes,
        verify_each=verify_each,
        print_ir_after=print_ir_after,
        dump_dir=dump_ir,
        reproducer_dir=reproducer,
        timing=timing,
    )
    if weights_output is not None:
        write_file(weights_output, graph.weights.save)
    if output is None:
        click.echo(str(graph.module))
    else:
        write_file(output, lambda new: new.write_text(f"{graph.module!s}\n", encoding="utf-8"))


def parse_text(text: str, name: str) -> ModuleOp:
    """The verified module in ``text``.

    Raises CompileError: FX151 for text that is not IR, with line and column; FX152 for IR that does not
    verify or has no ``@main``.
    """
    try:
        module = parse_module(text, name)
    except ParseError as problem:
        at = problem.span.get_location()
        line = "".join(text.splitlines()[at.line - 1 : at.line]).strip()
        message = f"the IR does not parse: {problem.msg.strip()}"
        raise error("FX151", message, place=Place(f"{name}:{at.line}:{at.col}"), detail=line) from problem
    try:
        module.verify()
    except VerifyException as problem:
        raise error("FX152", f"the IR does not verify: {problem}", place=Place(name)) from problem
    if not any(isinstance(op, FuncOp) and op.sym_name.data == "main" for op in module.ops):
        raise error("FX152", "the IR has no func.func @main", place=Place(name))
    return module


def describe_pass(found: type[Pass]) -> str:
    """``name{option=default ...}`` and the first line of its file's docstring."""
    options = " ".join(f"{field.name.replace('_', '-')}={field.default}" for field in fields(found))
    summary = (sys.modules[found.__module__].__doc__ or "").partition("\n")[0]
    return f"{found.name}{f'{{{options}}}' if options else ''}\n    {summary}"


def _check_pass_names(names: tuple[str, ...]) -> None:
    for name in names:
        if name != ALL_PASSES:
            pass_class(name)


def _read(file: str) -> tuple[str, str]:
    """The text and what messages call it."""
    if file == STDIN:
        return sys.stdin.read(), "<stdin>"
    path = Path(file)
    if not path.is_file():
        raise error("FX150", f"there is no file '{file}'")
    try:
        return path.read_text(encoding="utf-8"), file
    except UnicodeDecodeError as problem:
        raise error("FX150", f"'{file}' is not UTF-8 text: {problem}") from problem


def _weights(path: Path | None) -> WeightStore:
    if path is None:
        return WeightStore()
    if not path.is_file():
        raise error("FX150", f"there is no file '{path}'")
    return WeightStore.load(path)
