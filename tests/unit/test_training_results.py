"""The driver of the reported training results."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import benchmarks.training_results.__main__ as driver
from benchmarks.training_results.broken_quantizers import Fault, broken_quantizer
from benchmarks.training_results.document import with_tables
from benchmarks.training_results.evaluation import score_of_logits
from benchmarks.training_results.experiments import Experiment, Task
from benchmarks.training_results.plan import (
    DIGITS,
    EVERYWHERE,
    INDEPENDENT,
    MOBILENET_DIGITS,
    REFERENCES,
    experiments,
)
from benchmarks.training_results.runs import run
from benchmarks.training_results.statistics_of_seeds import Runs
from benchmarks.training_results.store import Results
from benchmarks.training_results.summary import RunSummary, read_summaries, summarize, write_summaries
from benchmarks.training_results.tables import accuracy_difference, tables
from benchmarks.training_results.torch_fake_quantized import fake_quantized
from flexc import numerics
from flexc.numerics import BlockTensor, dequantize

DOCS = Path(__file__).parents[2] / "docs"
X = np.array([[1.75, -0.3, 0.3, 0.0], [14.0, -1.0, 2.0, 0.25], [0, 0, 0, 0]], np.float32)


def quantized() -> BlockTensor:
    return numerics.quantize(X, mantissa_bits=4, tile=(1, 4))


def test_every_run_has_an_address_of_its_own() -> None:
    planned = list(experiments())
    assert len({one.key for one in planned}) == len(planned)
    for one in planned:
        again = Experiment.from_json(json.loads(json.dumps(asdict(one))))
        assert (again, again.key) == (one, one.key)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.EXPONENT_ONE_LOW, [[0.875, -0.25, 0.25, 0], [7, -1, 2, 0], [0, 0, 0, 0]]),
        (Fault.FLOOR, [[1.75, -0.5, 0.25, 0], [14, -2, 2, 0], [0, 0, 0, 0]]),
        (Fault.NEXT_EXPONENT, [[0, 0, 0, 0], [1.75, 0, 0.25, 0], [0, 0, 0, 0]]),
    ],
)
def test_a_fault_lasts_as_long_as_its_run(fault: Fault, expected: list[list[float]]) -> None:
    right = dequantize(quantized())
    np.testing.assert_array_equal(right, [[1.75, -0.25, 0.25, 0], [14, 0, 2, 0], [0, 0, 0, 0]])
    with broken_quantizer(fault):
        np.testing.assert_array_equal(dequantize(quantized()), expected)
    np.testing.assert_array_equal(dequantize(quantized()), right)


def test_a_score_is_that_of_the_softmax() -> None:
    found = score_of_logits(np.array([[1000, 1000], [0, np.log(3)]], np.float32), np.array([1, 1]))
    assert found.loss == pytest.approx((np.log(2) - np.log(0.75)) / 2)
    assert found.accuracy == 0.5


def test_a_finished_run_is_kept_whole(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    experiment = next(experiments())
    assert not results.has(experiment)
    results.add(experiment, {"key": experiment.key})
    assert results.has(experiment)
    assert results.all() == [{"key": experiment.key}]
    assert not results.has(replace(experiment, seed=7))


def test_summaries_are_read_as_they_were_written(tmp_path: Path) -> None:
    first, second, *_ = experiments()
    score = {"loss": 0.123456789, "accuracy": 0.5}
    last = {"test_accuracy": 0.25, "train_loss": 1 / 3, "bits_16": 1, "bits_8": 2, "bits_4": 3}
    last |= {"error_activation": 0.1, "error_weight": 0.2, "error_gradient": 0.3}
    stored = {
        "epochs": [{}, last],
        "scores": {"train": score, "test": score},
        "seconds": 1.25,
        "lags": [{"a": 1.0}],
    }
    made = summarize({**asdict(first), **stored})
    assert (made.train_loss, made.final_train_loss, made.bits, made.errors) == (
        0.33333, 0.12346, (1, 2, 3), (0.1, 0.2, 0.3)
    )  # fmt: skip
    broken = summarize({**asdict(second), "epochs": [], "failure": "error[FX602]: x\n at y", "seconds": 1})
    assert broken == RunSummary(second, 1, failure="error[FX602]: x")
    write_summaries(tmp_path / "data" / "all.json", [made, broken])
    read = read_summaries(tmp_path / "data" / "all.json")
    assert sorted(read, key=lambda one: one.seconds) == [broken, made]


def summary_of(experiment: Experiment, accuracy: float) -> RunSummary:
    return RunSummary(experiment, 1.0, test_accuracy=accuracy, train_loss=0.5)


def test_accuracies_are_compared_over_common_seeds() -> None:
    exact, other = REFERENCES["fp32, exact batch norm"], EVERYWHERE["FB16"]
    found = [
        summary_of(Experiment(DIGITS, exact, seed), accuracy) for seed, accuracy in enumerate((0.5, 0.75))
    ]
    runs = Runs([*found, summary_of(Experiment(DIGITS, other, 1), 0.875)])
    assert accuracy_difference(runs, DIGITS, other) == 0.125
    assert accuracy_difference(runs, DIGITS, EVERYWHERE["FB24"]) is None


def test_new_results_leave_the_others_in_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = experiments()
    summary, document = tmp_path / "summary.json", tmp_path / "document.md"
    write_summaries(summary, [summary_of(first, 0.5), summary_of(second, 0.25)])
    last = {"test_accuracy": 0.75, "train_loss": 0.5}
    scores = {name: {"loss": 0.5, "accuracy": 0.5} for name in ("train", "test")}
    new = {"key": second.key, **asdict(second), "epochs": [last], "scores": scores, "seconds": 2.0}
    Results(tmp_path / "results").add(second, new)
    text = (DOCS / "training_results.md").read_text(encoding="utf-8")
    document.write_text(text, encoding="utf-8")
    monkeypatch.setattr(driver, "SUMMARY", summary)
    monkeypatch.setattr(driver, "DOCUMENT", document)
    result = CliRunner().invoke(driver.main, ["table", "--results", str(tmp_path / "results")])
    assert result.exit_code == 0, result.output
    accuracies = {one.experiment: one.test_accuracy for one in read_summaries(summary)}
    assert accuracies == {first: 0.5, second: 0.75}


def one_epoch(method: str, **changes: Any) -> dict[str, Any]:
    chosen = {**EVERYWHERE, **REFERENCES}[method]
    return run(Experiment(replace(DIGITS, epochs=1), replace(chosen, **changes), 3))


@pytest.mark.slow
def test_statistics_are_compared_behind_each_epoch() -> None:
    made = one_epoch("FB16")
    (lag,) = made["lags"]
    assert 0 < lag["training_difference"] < 0.2
    assert abs(lag["bias"]) <= lag["difference"] < 0.3
    assert lag["running"]["loss"] == pytest.approx(made["scores"]["test"]["loss"], rel=0.05)


@pytest.mark.torch
def test_pytorch_learns_the_same() -> None:
    ours, theirs = (one_epoch(name, statistics=False) for name in list(REFERENCES)[1::-1])
    assert ours["epochs"][0]["train_loss"] == pytest.approx(theirs["epochs"][0]["train_loss"], rel=1e-3)
    assert ours["scores"]["test"]["loss"] == pytest.approx(theirs["scores"]["test"]["loss"], rel=0.05)


@pytest.mark.torch
@pytest.mark.parametrize(("bits", "length"), [(4, 216), (8, 108)])
@pytest.mark.parametrize("axis", [0, 1])
def test_fake_quantization_gives_the_values_of_the_format(bits: int, length: int, axis: int) -> None:
    """Written twice, equal to the bit: ties, saturation, groups of zeros, a short last group."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(bits)
    x = rng.integers(-64, 65, (230, 230)).astype(np.float32) * np.exp2(rng.integers(-9, 1, (230, 230)))
    x[:, 3] = x[5] = 0
    x[7, 9] = 127.99
    x = x.astype(np.float32)
    tile = (length, 1) if axis == 0 else (1, length)
    expected = dequantize(numerics.quantize(x, mantissa_bits=bits, tile=tile))
    assert np.array_equal(fake_quantized(torch, torch.from_numpy(x), axis, bits).numpy(), expected)


@pytest.mark.torch
@pytest.mark.parametrize(("task", "tolerance"), [(DIGITS, 1e-3), (MOBILENET_DIGITS, 6e-3)])
def test_the_emulation_learns_as_the_executor_does(task: Task, tolerance: float) -> None:
    """Sums in another order move values over ties; four bits in one gradient move the loss by 1 to 3 %."""
    methods = [INDEPENDENT[f"FB12LG16WG16, exact batch norm{by}"] for by in ("", ", PyTorch")]
    made = [run(Experiment(replace(task, epochs=1), method, 0)) for method in methods]
    ours, theirs = (one["epochs"][0]["train_loss"] for one in made)
    assert ours == pytest.approx(theirs, rel=tolerance)


def test_the_document_has_the_tables_of_its_data() -> None:
    text = (DOCS / "training_results.md").read_text(encoding="utf-8")
    summaries = read_summaries(DOCS / "data" / "training_results.json")
    assert with_tables(text, tables(summaries)) == text
    worse = [replace(one, test_accuracy=0.5) for one in summaries if one.failure is None]
    assert with_tables(text, tables(worse)) != text


def test_a_document_has_a_mark_for_each_table() -> None:
    marked = "a\n<!-- table: x -->\nold\n<!-- end -->\nb\n"
    assert with_tables(marked, {"x": "new\n"}) == "a\n<!-- table: x -->\n\nnew\n\n<!-- end -->\nb\n"
    for wrong in ({}, {"x": "", "y": ""}):
        with pytest.raises(ValueError, match=r"marked and made tables differ: \['[xy]'\]"):
            with_tables(marked, wrong)
