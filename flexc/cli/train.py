"""``flexc train``: train an ONNX model on real data, in any precision, into a run folder."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from flexc.cli.progress import show_remark
from flexc.cli.training_options import training_options
from flexc.cli.training_progress import observing
from flexc.figure_file import check_figure
from flexc.options import BatchNorm, Profile, TrainingOptions
from flexc.passes.differentiation.parts import micro_batches_of
from flexc.training.learning_rate import LearningRate, Schedule
from flexc.training.plot import plot_run
from flexc.training.precision_control import ControlOptions
from flexc.training.run import Outcome, train
from flexc.training.scalars import writing_scalars
from flexc.training.settings import RunSettings
from flexc.training.signals import Signal

DYNAMIC = "dynamic"
INTERRUPTED_STATUS = 130
_CONTROL = ControlOptions()
_SHARE = click.FloatRange(0, 1)
_COUNT = click.IntRange(min=1)


@click.command("train", short_help="Train a model on real data, in any precision.")
@click.argument("model", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--data", required=True, metavar="mnist|digits|text-direction|FILE.npz",
    help="What to learn: 5000 images of MNIST, 1797 digits of 8x8 pixels, rendered lines of text, or a file "
    "with an array for each input of the model, and labels.",
)  # fmt: skip
@click.option(
    "--label", metavar="NAME",
    help="The array of FILE.npz that holds the labels.  [default: labels, or label]",
)  # fmt: skip
@click.option(
    "-o", "--output", "folder", required=True, metavar="RUN", type=click.Path(path_type=Path),
    help="Folder of the run: checkpoint, metrics.csv, options.",
)  # fmt: skip
@click.option("--epochs", type=_COUNT, default=10, show_default=True)
@click.option("--batch", type=_COUNT, default=50, show_default=True, help="Examples a step.")
@click.option(
    "--micro-batch", type=_COUNT, metavar="M",
    help="Run a batch in parts of M examples, whose gradients are added up before the update.",
)  # fmt: skip
@click.option("--lr", type=click.FloatRange(min=0), default=0.05, show_default=True, help="Learning rate.")
@click.option(
    "--lr-schedule", type=click.Choice(["constant", "cosine", "steps"]), default="cosine", show_default=True,
    help="Cosine falls to 0 at the end; steps multiply by --lr-factor every --lr-every epochs.",
)  # fmt: skip
@click.option("--lr-every", type=_COUNT, default=10, show_default=True, metavar="EPOCHS")
@click.option("--lr-factor", type=_SHARE, default=0.1, show_default=True)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
    help="Of the order of the examples and of stochastic rounding.",
)  # fmt: skip
@click.option(
    "--plot", metavar="FILE", type=click.Path(path_type=Path),
    help="Draw loss, accuracy, zero-setting errors and formats by epoch at the end, as .png, .svg or .pdf.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Continue the run in RUN from its checkpoint.")
@click.option(
    "--policy", default="FB16", show_default=True, metavar="NAME|FILE|dynamic",
    help="Precision of every operand; `dynamic` follows the zero-setting errors of the operands.",
)  # fmt: skip
@click.option("--everywhere", is_flag=True, help="Apply the policy to the first and the last layer too.")
@click.option(
    "--rounding", metavar="ROUNDING|PASS=ROUNDING,...",
    help="Rounding instead of the policy's: `nearest`, `truncate` or `stochastic`, or a list for passes "
    "(forward, local_grad, weight_grad) and points (fi, fw, ...).",
)  # fmt: skip
@click.option(
    "--profile", type=click.Choice([one.value for one in Profile]), default="flexblock", show_default=True,
    help="Arithmetic of the accelerator, that of the FlexBlock authors' emulator (bfpsim, on the executor "
    "only), or fp32 without quantization.",
)  # fmt: skip
@click.option(
    "--batchnorm", type=click.Choice(["lightnorm", "fp32"]), default="lightnorm", show_default=True,
    help="Batch normalization by LightNorm, forward and backward, or in fp32.",
)  # fmt: skip
@training_options
@click.option(
    "--measure-every", type=_COUNT, default=10, show_default=True, metavar="STEPS",
    help="Measure zero-setting errors once in so many steps.",
)  # fmt: skip
@click.option(
    "--zse-low", type=_SHARE, default=_CONTROL.low, show_default=True, help="dynamic: step down below."
)
@click.option(
    "--zse-high", type=_SHARE, default=_CONTROL.high, show_default=True, help="dynamic: step up above."
)
@click.option(
    "--zse-hold", type=_COUNT, default=_CONTROL.hold, show_default=True, metavar="PERIODS",
    help="dynamic: for so many periods in a row.",
)  # fmt: skip
@click.option(
    "--zse-period", type=_COUNT, default=_CONTROL.period, show_default=True, metavar="STEPS",
    help="dynamic: steps whose errors are averaged.",
)  # fmt: skip
@click.option(
    "--zse-settle", type=click.IntRange(min=0), default=_CONTROL.settle, show_default=True, metavar="PERIODS",
    help="dynamic: first periods that change nothing.",
)  # fmt: skip
@click.option(
    "--zse-signal", type=click.Choice([one.value for one in Signal]), default=_CONTROL.signal.value,
    show_default=True,
    help="dynamic: errors of the operands, or the published emulator's signals (weight, input gradient, "
    "weight gradient).",
)  # fmt: skip
def train_command(
    model: Path,
    data: str,
    label: str | None,
    folder: Path,
    epochs: int,
    batch: int,
    micro_batch: int | None,
    lr: float,
    lr_schedule: str,
    lr_every: int,
    lr_factor: float,
    seed: int,
    plot: Path | None,
    resume: bool,
    policy: str,
    everywhere: bool,
    rounding: str | None,
    profile: str,
    batchnorm: str,
    loss: str,
    loss_of: str,
    optimizer: str,
    momentum: float,
    weight_decay: float,
    freeze: str,
    measure_every: int,
    zse_low: float,
    zse_high: float,
    zse_hold: int,
    zse_period: int,
    zse_settle: int,
    zse_signal: str,
) -> None:
    """Train the ONNX file MODEL on the executor; its batch must be open or that of --batch.

    Every epoch is tested with running statistics and leaves a checkpoint; so does an interrupt (Ctrl-C),
    which ends with status 130. `--resume` with the same options continues to the bytes of a run without a
    break.

    \b
    Examples:
      flexc train small.onnx --data digits --policy FB12 -o run
      flexc train small.onnx --data digits --policy dynamic --zse-low 0.05 -o run
      flexc train seq2seq.onnx --data pairs.npz --label next --batch 64 --micro-batch 16 -o run
      flexc train small.onnx --data mnist --profile fp32 --batchnorm fp32 -o run --resume
      flexc export run -o trained.onnx
    """
    if plot is not None:
        check_figure(plot)
    settings = RunSettings(
        model=str(model),
        data=data,
        label=label,
        epochs=epochs,
        batch=batch,
        learning_rate=LearningRate(lr, Schedule(lr_schedule), lr_every, lr_factor),
        policy=policy,
        everywhere=everywhere,
        rounding=rounding,
        profile=Profile(profile),
        batchnorm=BatchNorm(batchnorm),
        seed=seed,
        measure_every=measure_every,
        training=TrainingOptions(
            loss="mean-squared-error" if loss == "mse" else loss,
            output=loss_of,
            optimizer=optimizer,
            momentum=momentum,
            weight_decay=weight_decay,
            freeze=freeze,
            seed=seed,
            micro_batches=micro_batches_of(batch, micro_batch),
        ),
        control=ControlOptions(zse_low, zse_high, zse_hold, zse_period, zse_settle, Signal(zse_signal))
        if policy == DYNAMIC
        else None,
    )
    with (
        _stop_on_signal() as stop,
        observing(epochs, settings.target) as progress,
        writing_scalars(folder, progress, show_remark) as observer,
    ):
        outcome = train(settings, folder, resume=resume, observer=observer, stop=stop)
    _finish(outcome, folder)
    if plot is not None:
        plot_run(folder, plot)


def _finish(outcome: Outcome, folder: Path) -> None:
    if outcome.interrupted:
        click.echo(f"interrupted behind step {outcome.step}; --resume continues", err=True)
        raise SystemExit(INTERRUPTED_STATUS)
    last = outcome.metrics[-1]
    tested = [] if last.test_accuracy is None else [f"test accuracy {last.test_accuracy:.2%}"]
    tested += [] if last.test_loss is None else [f"test loss {last.test_loss:.4f}"]
    click.echo(f"{', '.join(tested)} behind step {outcome.step}")
    click.echo(f"wrote {folder}")


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """A function that says whether SIGINT or SIGTERM came; a second signal acts as it always does."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
