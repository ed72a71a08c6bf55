"""Options of the commands that make a training step: loss, optimizer and their constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click
from click.core import ParameterSource

from flexc.options import TrainingOptions

_DEFAULTS = TrainingOptions()
_NUMBER = click.FloatRange(min=0)
_SHARE = click.FloatRange(min=0, max=1, max_open=True)

OPTIONS = (
    click.option(
        "--loss", type=click.Choice(["cross-entropy", "mse", "output"]), default=_DEFAULTS.loss,
        show_default=True,
        help="Loss of the training step; a softmax at the model's end is part of cross-entropy; `output` is "
        "one that the model computes.",
    ),
    click.option(
        "--loss-of", metavar="OUTPUT", default=_DEFAULTS.output,
        help="The output that the loss is taken of, where the model has several.",
    ),
    click.option(
        "--optimizer", type=click.Choice(["sgd", "adam"]), default=_DEFAULTS.optimizer, show_default=True,
        help="How the training step updates weights.",
    ),
    click.option(
        "--momentum", type=_SHARE, default=_DEFAULTS.momentum, show_default=True, help="SGD's momentum."
    ),
    click.option(
        "--weight-decay", type=_NUMBER, default=_DEFAULTS.weight_decay, show_default=True,
        help="Share of a weight that is added to its gradient.",
    ),
    click.option(
        "--freeze", default="", metavar="PATTERNS",
        help="Names of weights to leave alone, with commas between, such as 'stem.*,*.bias'.",
    ),
)  # fmt: skip


NAMES = ("loss", "loss_of", "optimizer", "momentum", "weight_decay", "freeze")
"""The parameters of a command that has ``OPTIONS``."""


def require_train(context: click.Context, names: Sequence[str]) -> None:
    """A usage error if a parameter of ``names`` was given to a command that is not to train."""
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name in names and context.get_parameter_source(option.name) is not ParameterSource.DEFAULT
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)}: only with --train")


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``OPTIONS`` to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
