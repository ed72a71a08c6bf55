"""``flexc train`` from the command line: it learns, it is repeatable, it continues where it was stopped."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

import flexc
import flexc.cli.train
from flexc.cli import main
from flexc.options import TrainingOptions
from flexc.training.checkpoint import read_checkpoint
from models.graph_builder import GraphBuilder
from models.make_small_resnet import make_small_resnet
from models.make_transformer import make_seq2seq

EPOCHS = 4
STEPS_PER_EPOCH = 6
FILES = ("metrics.csv", "checkpoint.json", "step-00000024.safetensors")
DYNAMIC = (
    "--policy",
    "dynamic",
    "--zse-period",
    "4",
    "--zse-hold",
    "1",
    "--measure-every",
    "2",
    "--zse-high",
    "0.9",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a data set of three classes, told apart by where a blot is."""
    path = tmp_path_factory.mktemp("training")
    onnx.save(make_small_resnet(size=6, classes=3, widths=(4, 8)), path / "m.onnx")
    rng = np.random.default_rng(0)
    labels = np.arange(75) % 3
    images = 0.5 * rng.standard_normal((75, 1, 6, 6)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label : 2 * label + 2, 2:4] += 4
    np.savez(path / "data.npz", images=images, labels=labels)
    return path


def arguments(folder: Path, run: Path, *more: str) -> list[str]:
    given = ["train", str(folder / "m.onnx"), "--data", str(folder / "data.npz"), "-o", str(run)]
    return [*given, "--epochs", str(EPOCHS), "--batch", "10", "--lr", "0.2", *more]


def train(folder: Path, run: Path, *more: str) -> Result:
    return CliRunner().invoke(main, arguments(folder, run, *more))


def rows(run: Path, file: str = "metrics.csv") -> list[dict[str, str]]:
    with (run / file).open() as text:
        return list(csv.DictReader(text))


def assert_equal_runs(first: Path, second: Path, files: Sequence[str] = FILES) -> None:
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    result = train(folder, folder / "whole", "--policy", "FB16", "--rounding", "stochastic")
    assert result.exit_code == 0, result.output
    return folder / "whole"


def test_it_learns(whole: Path) -> None:
    found = rows(whole)
    assert [row["step"] for row in found] == ["6", "12", "18", "24"]
    assert float(found[-1]["train_loss"]) < 0.6 * float(found[0]["train_loss"])
    assert float(found[-1]["test_accuracy"]) > 0.7
    assert all(0 < float(found[-1][f"error_{kind}"]) < 0.5 for kind in ("activation", "weight", "gradient"))
    assert (found[-1]["bits_16"], found[-1]["bits_4"]) == ("0", "0")


def test_the_machine_would_have_run_the_schedule_of_every_step(folder: Path, whole: Path) -> None:
    training = TrainingOptions()
    schedule = flexc.compile(folder / "m.onnx", batch=10, rounding="stochastic", training=training).schedule
    for row in rows(whole):
        assert int(row["machine_cycles"]) == STEPS_PER_EPOCH * schedule.cycles
        assert float(row["machine_energy_pj"]) == pytest.approx(STEPS_PER_EPOCH * schedule.energy_pj)


def test_a_run_can_be_repeated(folder: Path, whole: Path) -> None:
    assert train(folder, folder / "again", "--policy", "FB16", "--rounding", "stochastic").exit_code == 0
    assert_equal_runs(whole, folder / "again")


def test_another_seed_is_another_run(folder: Path, whole: Path) -> None:
    assert train(folder, folder / "seed", "--rounding", "stochastic", "--seed", "5").exit_code == 0
    assert (folder / "seed" / FILES[0]).read_bytes() != (whole / FILES[0]).read_bytes()


@pytest.mark.slow
def test_killed_runs_continue_to_the_same_bytes(folder: Path) -> None:
    more = ("--rounding", "stochastic", "--epochs", "20")
    assert train(folder, folder / "long", *more).exit_code == 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        run = folder / f"killed-{number.name}"
        status = _status_of_killed(arguments(folder, run, *more), run, number)
        assert status == (-signal.SIGKILL if number is signal.SIGKILL else 130)
        before = read_checkpoint(run)
        assert before is not None
        assert before.step < 20 * STEPS_PER_EPOCH
        assert train(folder, run, *more, "--resume").exit_code == 0
        assert_equal_runs(
            folder / "long", run, ("metrics.csv", "checkpoint.json", "step-00000120.safetensors")
        )


def _status_of_killed(command: Sequence[str], run: Path, number: signal.Signals) -> int:
    """The exit status of the command, sent a signal when its run has a checkpoint."""
    start = [sys.executable, "-c", "from flexc.cli import main; main()", *command]
    process = subprocess.Popen(start, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (run / "checkpoint.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    return process.wait(timeout=60)


@pytest.mark.parametrize(
    ("steps", "more"),
    [
        (5, ("--rounding", "stochastic", "--micro-batch", "5")),
        (6, ("--rounding", "stochastic")),
        (5, DYNAMIC),
        (6, DYNAMIC),
    ],
    ids=["micro-batches", "stochastic", "dynamic-within", "dynamic-between"],
)
def test_an_interrupted_run_continues_to_the_same_bytes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, steps: int, more: tuple[str, ...]
) -> None:
    names = [f"{word}-{len(more)}-{steps}" for word in ("whole", "stopped")]
    with monkeypatch.context() as patch:
        patch.setattr(flexc.cli.train, "_stop_on_signal", lambda: nullcontext(_after(steps)))
        stopped = train(folder, folder / names[1], *more)
    assert (stopped.exit_code, f"interrupted behind step {steps}" in stopped.output) == (130, True)
    for run in names:
        resume = () if run == names[0] else ("--resume",)
        assert train(folder, folder / run, *more, *resume).exit_code == 0
    decisions = ("decisions.csv", "policy.toml") if more == DYNAMIC else ()
    assert_equal_runs(folder / names[0], folder / names[1], (*FILES, *decisions))


def _after(steps: int) -> Callable[[], bool]:
    """A function that says True from its call number ``steps`` on."""
    calls = iter(range(1, 10**6))
    return lambda: next(calls) >= steps


def test_dynamic_precision_changes_formats_and_repeats_itself(folder: Path) -> None:
    for name, more in (("dynamic", ()), ("dynamic-again", ()), ("dynamic-everywhere", ("--everywhere",))):
        result = train(folder, folder / name, *DYNAMIC, *more)
        assert result.exit_code == 0, result.output
    run = folder / "dynamic"
    for other in ("dynamic-again", "dynamic-everywhere"):
        assert_equal_runs(run, folder / other, (*FILES, "decisions.csv", "policy.toml"))
    decisions = rows(run, "decisions.csv")
    assert decisions
    assert {row["before_bits"] for row in decisions} <= {"16", "8", "4"}
    assert all(int(row["step"]) % 4 == 0 for row in decisions)
    last = rows(run)[-1]
    assert int(last["bits_8"]) + int(last["bits_4"]) > 0


def test_the_emulators_signals_decide_otherwise_and_repeat_themselves(folder: Path) -> None:
    for name in ("emulator", "emulator-again"):
        assert train(folder, folder / name, *DYNAMIC, "--zse-signal", "emulator").exit_code == 0
    files = (*FILES, "decisions.csv", "policy.toml")
    assert_equal_runs(folder / "emulator", folder / "emulator-again", files)
    assert train(folder, folder / "operands", *DYNAMIC).exit_code == 0
    assert rows(folder / "emulator", "decisions.csv") != rows(folder / "operands", "decisions.csv")


def test_thresholds_that_leave_nothing_between_them_are_an_error(folder: Path) -> None:
    result = train(folder, folder / "none", "--policy", "dynamic", "--zse-low", "0.4", "--zse-high", "0.4")
    assert (result.exit_code, "error[FX310]" in result.output) == (1, True)
    assert not (folder / "none").exists()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--rounding", "forward=up"), "FX310"),
        (("--policy", "FB99"), "FX320"),
        (("--policy", "dynamic", "--rounding", "up"), "FX310"),
        (("--profile", "bfpsim", "--rounding", "nearest"), "FX310"),
    ],
)
@pytest.mark.parametrize("existed", [False, True])
def test_a_run_that_cannot_begin_leaves_nothing(
    folder: Path, tmp_path: Path, more: tuple[str, ...], code: str, existed: bool
) -> None:
    run = tmp_path / "run"
    if existed:
        run.mkdir()
    result = train(folder, run, *more)
    assert (result.exit_code, f"error[{code}]" in result.output) == (1, True)
    assert run.exists() == existed
    assert not existed or list(run.iterdir()) == []


def test_a_finished_run_resumes_to_nothing(folder: Path, whole: Path) -> None:
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    result = train(folder, whole, "--policy", "FB16", "--rounding", "stochastic", "--resume")
    assert result.exit_code == 0, result.output
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before


@pytest.mark.parametrize(
    ("more", "code"),
    [((), "FX570"), (("--resume", "--seed", "9"), "FX572"), (("--resume", "--policy", "FB12"), "FX572")],
)
def test_a_folder_with_another_run_is_left_alone(
    folder: Path, whole: Path, more: tuple[str, ...], code: str
) -> None:
    result = train(folder, whole, "--rounding", "stochastic", *more)
    assert result.exit_code == 1
    assert f"error[{code}]" in result.output


def test_a_run_that_is_not_there_does_not_resume(folder: Path, tmp_path: Path) -> None:
    result = train(folder, tmp_path / "none", "--resume")
    assert (result.exit_code, "error[FX570]" in result.output) == (1, True)


def test_a_run_that_diverges_stops_and_keeps_its_checkpoint(folder: Path) -> None:
    run = folder / "diverging"
    more = ("--profile", "fp32", "--batchnorm", "fp32", "--momentum", "0", "--lr-schedule", "steps")
    result = train(folder, run, *more, "--lr-every", "1", "--lr-factor", "1", "--lr", "1e30")
    assert result.exit_code == 1
    assert "error[FX602]" in result.output
    assert "in step " in result.output


SEQUENCES = (
    *("--optimizer", "adam", "--lr", "0.02", "--epochs", "2"),
    *("--batch", "8", "--micro-batch", "4", "--label", "next", "--rounding", "stochastic"),
)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer of two inputs with dropout, and sequences to be turned round."""
    path = tmp_path_factory.mktemp("sequences")
    model = make_seq2seq(source_length=3, target_length=3, width=8, vocabulary=6, dropout=0.25)
    onnx.save(model, path / "m.onnx")
    source = np.random.default_rng(0).integers(1, 6, (60, 3))
    turned = source[:, ::-1]
    target = np.concatenate([np.zeros((60, 1), np.int64), turned[:, :-1]], axis=1)
    np.savez(path / "data.npz", source=source, target=target, next=turned)
    return path


@pytest.mark.slow
def test_sequences_of_two_inputs_in_micro_batches_continue_to_the_same_bytes(
    sequences: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(flexc.cli.train, "_stop_on_signal", lambda: nullcontext(_after(8)))
        assert train(sequences, sequences / "stopped", *SEQUENCES).exit_code == 130
    for run, resume in (("whole", ()), ("stopped", ("--resume",))):
        result = train(sequences, sequences / run, *SEQUENCES, *resume)
        assert result.exit_code == 0, result.output
    files = ("metrics.csv", "checkpoint.json", "step-00000012.safetensors")
    assert_equal_runs(sequences / "whole", sequences / "stopped", files)
    found = rows(sequences / "whole")
    assert float(found[-1]["train_loss"]) < 0.97 * float(found[0]["train_loss"])
    assert 0 < float(found[-1]["train_accuracy"]) < 1
    assert int(found[-1]["machine_cycles"]) > 0
    exported = CliRunner().invoke(main, ["export", str(sequences / "whole"), "-o", str(sequences / "t.onnx")])
    assert exported.exit_code == 0, exported.output
    kept = onnx.load(sequences / "t.onnx").graph
    assert [one.name for one in kept.input] == ["source", "target"]
    assert "Dropout" not in {node.op_type for node in kept.node}


def test_a_run_by_targets_or_by_the_models_own_loss(tmp_path: Path) -> None:
    b = GraphBuilder("own", 0)
    x, t = b.input("x", ("n", 4)), b.input("t", ("n",), onnx.TensorProto.INT64)
    logits = b.linear(x, (4, 3), "fc")
    loss = b.node("SoftmaxCrossEntropyLoss", [logits, t])
    onnx.save(b.model({logits: ("n", 3), loss: ()}), tmp_path / "m.onnx")
    inputs = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=inputs, labels=inputs[:, :3].argmax(axis=1))
    result = train(tmp_path, tmp_path / "own", "--loss", "output")
    assert result.exit_code == 0, result.output
    found = rows(tmp_path / "own")
    assert float(found[-1]["test_loss"]) < 0.7 * float(found[0]["train_loss"])
    assert (found[-1]["test_accuracy"], found[-1]["train_accuracy"]) == ("", "")
    np.savez(tmp_path / "data.npz", x=inputs, labels=inputs[:, :3].argmax(axis=1) - 1)
    result = train(tmp_path, tmp_path / "beyond", "--loss", "output")
    assert (result.exit_code, "error[FX563]" in result.output) == (1, True)
    assert not (tmp_path / "beyond").exists()

    b = GraphBuilder("targets", 0)
    onnx.save(b.model({b.linear(b.input("x", ("n", 4)), (4, 2), "fc"): ("n", 2)}), tmp_path / "m.onnx")
    np.savez(tmp_path / "data.npz", x=inputs, y=inputs[:, :2] - inputs[:, 2:])
    result = train(tmp_path, tmp_path / "targets", "--loss", "mse", "--label", "y", "--lr", "0.05")
    assert result.exit_code == 0, result.output
    found = rows(tmp_path / "targets")
    assert float(found[-1]["test_loss"]) < 0.3 * float(found[0]["train_loss"])
    result = train(tmp_path, tmp_path / "wrong", "--label", "y")
    assert (result.exit_code, "error[FX563]" in result.output) == (1, True)
    assert not (tmp_path / "wrong").exists()
