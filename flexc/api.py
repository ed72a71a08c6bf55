"""Compile, save, load and run models from Python; the commands are thin around it.

program = flexc.compile("resnet18.onnx", policy="FB16", target="flexblock")
outputs = program.run({"x": images})
program.save("resnet18.flexc")
outputs = flexc.load("resnet18.flexc").run({"x": images}, engine="both")
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from flexc.artefact import Source, check_writable, sha256_of
from flexc.diagnostics import Diagnostic, error
from flexc.importer import load_model
from flexc.options import BatchNorm, CompileOptions, Profile, TrainingOptions
from flexc.passes.base import Pass
from flexc.passes.differentiation.loss import Loss
from flexc.passes.differentiation.optimizer import OptimizerName
from flexc.passes.differentiation.parts import Part, micro_batch_of
from flexc.passes.manager import ALL_PASSES, run_pipeline
from flexc.passes.pipelines import (
    differentiation_of,
    inference_pipeline,
    machine_pipeline,
    training_pipeline,
)
from flexc.passes.registry import pass_class
from flexc.precision.rounding import parse_roundings
from flexc.program import Program, load

__all__ = ["Debugging", "Program", "TrainingOptions", "compile", "compile_reference", "load"]

Choice = TypeVar("Choice", bound=StrEnum)
LOSS_ABBREVIATIONS = {"mse": Loss.MEAN_SQUARED_ERROR}


@dataclass(frozen=True)
class Debugging:
    """What to check, print and dump around the passes: see :func:`flexc.passes.manager.run_pipeline`.

    ``reproducer``: the folder that takes ``reproducer.mlir`` if a pass crashes; none is written without it.
    """

    verify_each: bool = False
    print_ir_after: Collection[str] = ()
    dump_ir: Path | None = None
    timing: bool = False
    reproducer: Path | None = None


def _ignore(told: object) -> None:
    """Takes remarks and progress where nobody asked for them."""


def compile(
    model: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    batch: int | None = None,
    policy: str = "FB16",
    everywhere: bool = False,
    profile: str = "flexblock",
    batchnorm: str = "lightnorm",
    target: str = "flexblock",
    rounding: str | None = None,
    training: TrainingOptions | None = None,
    debugging: Debugging = Debugging(),
    remark: Callable[[Diagnostic], None] = _ignore,
    progress: Callable[[str], None] = _ignore,
) -> Program:
    """The ONNX file ``model``, compiled; saved to the folder ``output`` if there is one.

    input_shapes: shapes of inputs by name, where the model leaves extents open; batch: the first extent of
    every input that leaves it open.
    policy: name or file of a precision policy; everywhere: for the first and the last layer too;
    rounding: "nearest", "truncate" or "stochastic" instead of the policy's, or a list for passes and points,
    such as "forward=nearest,local_grad=stochastic" (docs/policies.md).
    profile: "flexblock", "bfpsim" for the published emulator's arithmetic (on the executor only), or "fp32"
    for no quantization; batchnorm of the flexblock profile: "lightnorm" or "fp32".
    target: name or file of a machine.
    training: compiles a training step instead: its inputs are the model's, the labels (or targets), learning
    rate, number of the step, weights and state; its outputs loss, metrics, next weights and next state. Of a
    batch in micro-batches it compiles the part that the options name.
    remark: is handed what is to be said of the model and is no error, such as weights taken as f32 (FX100).
    progress: is told each step before it is taken, passes by their names.

    Raises :class:`~flexc.diagnostics.CompileError` for anything the user can mend.
    """
    if output is not None:
        check_writable(Path(output))
    options = CompileOptions(
        input_shapes={name: tuple(shape) for name, shape in (input_shapes or {}).items()},
        batch=batch,
        policy=policy,
        everywhere=everywhere,
        profile=_choice(Profile, profile, "profile"),
        batchnorm=_choice(BatchNorm, batchnorm, "batchnorm"),
        target=target,
        rounding=_checked_rounding(rounding),
        training=None if training is None else _checked(training, batch),
    )
    program = _compile(Path(model), options, debugging, remark, progress)
    if output is not None:
        progress("emit")
        program.save(output)
    return program


def compile_reference(program: Program, model: Path) -> Program:
    """``model``, compiled like ``program`` but in the fp32 profile, to be compared with it."""
    return _compile(model, replace(program.options, profile=Profile.FP32), Debugging(), _ignore, _ignore)


def _compile(
    path: Path,
    options: CompileOptions,
    debugging: Debugging,
    remark: Callable[[Diagnostic], None],
    progress: Callable[[str], None],
) -> Program:
    for name in debugging.print_ir_after:
        if name != ALL_PASSES:
            pass_class(name)
    progress("import")
    graph = load_model(
        path,
        input_shapes=options.input_shapes,
        batch=options.rows,
        training=options.training is not None,
        remark=remark,
    )
    run_pipeline(
        graph,
        _pipeline(options),
        verify_each=debugging.verify_each,
        print_ir_after=debugging.print_ir_after,
        dump_dir=debugging.dump_ir,
        reproducer_dir=debugging.reproducer,
        timing=debugging.timing,
        progress=progress,
    )
    return Program.of_graph(graph, Source(str(path.resolve()), sha256_of(path)), options)


def _pipeline(options: CompileOptions) -> tuple[Pass, ...]:
    if options.training is None:
        return inference_pipeline(options)
    differentiate = differentiation_of(options.training)
    machine = () if options.profile is Profile.BFPSIM else machine_pipeline(options.target)
    return (*training_pipeline(options, differentiate), *machine)


def _checked_rounding(rounding: str | None) -> str | None:
    if rounding is not None:
        parse_roundings(rounding)
    return rounding


def _checked(training: TrainingOptions, batch: int | None) -> TrainingOptions:
    loss = LOSS_ABBREVIATIONS.get(training.loss, training.loss)
    part = _choice(Part, training.part, "part")
    if part is Part.STEP and training.micro_batches != 1:
        raise error("FX347", "a step in micro-batches is two programs", hint="part 'gradients', or 'update'")
    if batch is not None:
        micro_batch_of(batch, training.micro_batches)
    return replace(
        training,
        loss=_choice(Loss, loss, "loss"),
        optimizer=_choice(OptimizerName, training.optimizer, "optimizer"),
        part=part,
    )


def _choice(kind: type[Choice], text: str, option: str) -> Choice:
    if text not in list(kind):
        raise error("FX310", f"no {option} '{text}'", hint=f"one of {', '.join(kind)}")
    return kind(text)
