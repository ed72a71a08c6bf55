"""The ``flexc`` command. Commands are imported when they are used, so that ``flexc --help`` is quick.

Results go to stdout, progress to stderr. Exit status: 0 done, 1 an error in what was given, 2 wrong usage.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import click

from flexc import __version__
from flexc.diagnostics import CompileError


@dataclass(frozen=True)
class Entry:
    """Where a command is defined (``module:attribute``), and its line in ``flexc --help``."""

    location: str
    summary: str


COMMANDS = {
    "compile": Entry("flexc.cli.compile:compile_command", "Compile an ONNX model into an artefact folder."),
    "train": Entry("flexc.cli.train:train_command", "Train a model on images, in any precision."),
    "export": Entry("flexc.cli.export:export", "Write the model that a run has trained as ONNX."),
    "export-onnx": Entry("flexc.cli.export_onnx:export_onnx", "Write an artefact's quantized graph as ONNX."),
    "run": Entry("flexc.cli.run:run", "Run an artefact, and compare it with onnxruntime."),
    "inspect": Entry("flexc.cli.inspect:inspect_command", "Show where the cycles of an artefact go."),
    "diff": Entry("flexc.cli.diff:diff", "Show what two artefacts have different."),
    "trace": Entry("flexc.cli.trace:trace", "Write the simulated run of an artefact as a Chrome trace."),
    "report": Entry("flexc.cli.report:report", "Write an artefact's schedule as one HTML page."),
    "plot": Entry(
        "flexc.cli.plot:plot", "Draw rooflines, speed-ups and zero-setting errors as PNG, SVG or PDF."
    ),
    "compare": Entry("flexc.cli.compare:compare_command", "Compare accelerators on models."),
    "reproduce": Entry("flexc.cli.reproduce:reproduce", "Run a published comparison again."),
    "sweep": Entry("flexc.cli.sweep:sweep", "Estimate many combinations of models, machines and policies."),
    "opt": Entry("flexc.cli.opt:opt", "Run passes on IR text or a model."),
    "policies": Entry("flexc.cli.policies:policies", "List and show precision policies."),
    "targets": Entry("flexc.cli.targets:targets", "List and show machines."),
    "assemble": Entry("flexc.cli.listing:assemble", "Turn the listing of a stream into its binary."),
    "disassemble": Entry("flexc.cli.listing:disassemble", "Turn the binary of a stream into a listing."),
    "conformance": Entry("flexc.cli.conformance:conformance", "Check the numerics against vector files."),
    "demo": Entry(
        "flexc.cli.demo:demo", "Compile a trained classifier in every precision, run it on both back ends."
    ),
}


class LazyGroup(click.Group):
    """A group of ``COMMANDS``; only the one that is asked for is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].location.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CompileError as failure:
            click.echo(str(failure), err=True)
            ctx.exit(1)


@click.command(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="flexc")
def main() -> None:
    """Compile ONNX models for block-floating-point accelerators, run them, and see cycles and accuracy.

    Completion of commands and options in bash: eval "$(_FLEXC_COMPLETE=bash_source flexc)"; zsh_source and
    fish_source serve those shells.
    """
