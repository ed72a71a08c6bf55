"""``flexc compile``: an ONNX model in, an artefact folder out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from flexc import api
from flexc.artefact import MANIFEST, check_writable
from flexc.cli.options import InputShape, shapes_by_name
from flexc.cli.program_lines import described
from flexc.cli.progress import show_remark, working_on
from flexc.cli.training_options import NAMES, require_train, training_options
from flexc.diagnostics import Place, error
from flexc.options import Profile, TrainingOptions
from flexc.passes.differentiation.parts import Part, micro_batches_of


@click.command("compile", short_help="Compile an ONNX model into an artefact folder.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, metavar="DIR", type=click.Path(path_type=Path),
    help="Folder to write; an artefact that is there is replaced.",
)  # fmt: skip
@click.option(
    "--input-shape", "input_shapes", type=InputShape(), multiple=True, callback=shapes_by_name,
    help="Shape of an input with open extents, such as x=1,3,224,224; can be repeated.",
)  # fmt: skip
@click.option("--batch", type=click.IntRange(min=1), help="First extent of every input that leaves it open.")
@click.option(
    "--policy", default="FB16", show_default=True, metavar="NAME|FILE",
    help="Precision of every operand; `flexc policies` lists the names.",
)  # fmt: skip
@click.option(
    "--everywhere", is_flag=True, help="Leave out the policy's exceptions, such as first and last layers."
)
@click.option(
    "--profile", type=click.Choice([one.value for one in Profile]), default="flexblock", show_default=True,
    help="Arithmetic of the accelerator, that of the FlexBlock authors' emulator (bfpsim, on the executor "
    "only), or fp32 without quantization.",
)  # fmt: skip
@click.option(
    "--batchnorm", type=click.Choice(["lightnorm", "fp32"]), default="lightnorm", show_default=True,
    help="Batch normalization on the LightNorm unit, or in fp32.",
)  # fmt: skip
@click.option(
    "--target", default="flexblock", show_default=True, metavar="NAME|FILE",
    help="Machine to compile for; `flexc targets` lists the names.",
)  # fmt: skip
@click.option(
    "--rounding", metavar="ROUNDING|PASS=ROUNDING,...",
    help="Rounding instead of the policy's: `nearest`, `truncate` or `stochastic`, or a list for passes "
    "(forward, local_grad, weight_grad) and points (fi, fw, ...).",
)  # fmt: skip
@click.option("--train", is_flag=True, help="Compile a training step: forward, backward and update.")
@click.option(
    "--micro-batch", type=click.IntRange(min=1), metavar="M",
    help="With --train: run a batch in parts of M examples; DIR gets two artefacts, gradients and update.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
    help="With --train: of dropouts and of stochastic rounding.",
)  # fmt: skip
@training_options
@click.option(
    "--dump-ir", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
    help="Write the IR after each pass to a numbered file.",
)  # fmt: skip
@click.option(
    "--print-ir-after", metavar="PASS", multiple=True,
    help="Print the IR on stderr after this pass, or after `all`; can be repeated.",
)  # fmt: skip
@click.option("--verify-each", is_flag=True, help="Verify the IR after each pass.")
@click.option("--timing", is_flag=True, help="Print the time of each pass on stderr.")
@click.option(
    "--reproducer", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), default=Path(),
    help="Where a pass that crashes leaves reproducer.mlir: the IR before it and the passes left, without "
    "weights.  [default: the current folder]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def compile_command(
    model: Path,
    output: Path,
    input_shapes: dict[str, tuple[int, ...]],
    batch: int | None,
    policy: str,
    everywhere: bool,
    profile: str,
    batchnorm: str,
    target: str,
    rounding: str | None,
    train: bool,
    micro_batch: int | None,
    seed: int,
    loss: str,
    loss_of: str,
    optimizer: str,
    momentum: float,
    weight_decay: float,
    freeze: str,
    dump_ir: Path | None,
    print_ir_after: tuple[str, ...],
    verify_each: bool,
    timing: bool,
    reproducer: Path,
    as_json: bool,
) -> None:
    """Compile the ONNX file MODEL into an artefact folder.

    The folder holds manifest.json, graph.mlir, weights.safetensors, executor.py (a NumPy program that runs
    alone), stream.bin, stream.s and stream.data (the instruction stream, its listing and the data of that),
    schedule.json and target.toml (the machine).

    With --train it is a training step: its inputs are the model's, the labels, the learning rate, the step's
    number, weights and state; its outputs the loss, the next weights and the next state. Other options of
    training need --train.

    With --micro-batch DIR/gradients is the step of a part of the batch: it adds its gradients to those it is
    given. DIR/update is run behind the last part, and gives the next weights.

    \b
    Examples:
      flexc compile resnet18.onnx -o resnet18.flexc --batch 1
      flexc compile model.onnx -o out --input-shape x=1,3,48,192 --policy FB12 --target flexblock-edge
      flexc compile model.onnx -o step.flexc --train --batch 64 --optimizer adam
      flexc compile model.onnx -o step --train --batch 256 --micro-batch 32
      flexc compile model.onnx -o out --print-ir-after insert-quantize --timing
    """
    training = TrainingOptions(
        loss=loss,
        output=loss_of,
        optimizer=optimizer,
        momentum=momentum,
        weight_decay=weight_decay,
        freeze=freeze,
        seed=seed,
    )
    if not train:
        require_train(click.get_current_context(), (*NAMES, "seed"))
    programs = {output: training if train else None}
    if micro_batch is not None:
        programs = _in_parts(output, training, batch, micro_batch, train=train, as_json=as_json)
    debugging = api.Debugging(verify_each, print_ir_after, dump_ir, timing, reproducer)
    compiled: dict[Path, api.Program] = {}
    with working_on(f"compiling {model.name}") as show:
        for folder, options in programs.items():
            check_writable(folder)
            compiled[folder] = api.compile(
                model,
                input_shapes=input_shapes,
                batch=batch,
                policy=policy,
                everywhere=everywhere,
                profile=profile,
                batchnorm=batchnorm,
                target=target,
                rounding=rounding,
                training=options,
                debugging=debugging,
                remark=show_remark,
                progress=lambda step: show(f"compiling {model.name}: {step}"),
            )
        show(f"compiling {model.name}: emit")
        for folder, program in compiled.items():
            program.save(folder)
    if as_json:
        click.echo((output / MANIFEST).read_text(encoding="utf-8"), nl=False)
        return
    for folder, program in compiled.items():
        for line in (
            *described(program, program.inputs, "input "),
            *described(program, program.outputs, "output"),
        ):
            click.echo(line)
        click.echo(f"wrote {folder}")


def _in_parts(
    output: Path,
    training: TrainingOptions,
    batch: int | None,
    micro_batch: int,
    *,
    train: bool,
    as_json: bool,
) -> dict[Path, TrainingOptions | None]:
    """The folder and the options of each part of a step in micro-batches."""
    if not train or batch is None:
        raise click.UsageError("--micro-batch needs --train and --batch")
    if as_json:
        raise click.UsageError("--json prints one manifest, and --micro-batch writes two")
    if (output / MANIFEST).exists():
        raise error(
            "FX510", "the folder holds an artefact, and is to hold two", place=Place(str(output)),
            hint="name a new folder, or remove this one",
        )  # fmt: skip
    count = micro_batches_of(batch, micro_batch)
    parts = (Part.GRADIENTS, Part.UPDATE)
    return {output / part: replace(training, part=part, micro_batches=count) for part in parts}
