"""Runs an experiment: ``flexc train``'s own loop in a folder of its own, or PyTorch."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import onnx

from benchmarks.training_results.broken_quantizers import Fault, broken_quantizer
from benchmarks.training_results.data import IMAGE_SIZES, data_path
from benchmarks.training_results.evaluation import score
from benchmarks.training_results.experiments import Engine, Experiment, Network
from benchmarks.training_results.statistics_lag import LagProbe
from benchmarks.training_results.torch_fake_quantized import FakeQuantizedTorchRun
from benchmarks.training_results.torch_reference import TorchRun
from flexc.datasets.arrays import DataSet
from flexc.datasets.choice import load_data_set
from flexc.diagnostics import CompileError
from flexc.numerics.block_float import Rounding
from flexc.options import BatchNorm, Profile, TrainingOptions
from flexc.precision.loading import catalog_names
from flexc.training.checkpoint import read_checkpoint
from flexc.training.learning_rate import LearningRate, Schedule
from flexc.training.metrics import EpochMetrics
from flexc.training.model import TrainedModel, load_trained_model
from flexc.training.order import order_of_epoch
from flexc.training.precision_control import ControlOptions, Decision
from flexc.training.run import StepReport, train
from flexc.training.settings import RunSettings
from models.make_small_mobilenet import make_small_mobilenet
from models.make_small_resnet import make_small_resnet

ROOT = Path(__file__).parents[2]
POLICIES = Path(__file__).parent / "policies"
CLASSIFIER = ROOT / "models" / "ch_ppocr_mobile_v2.0_cls_mobile.onnx"
DYNAMIC = "dynamic"
RECENT_STEPS = 8


def run(experiment: Experiment) -> dict[str, Any]:
    """The result, as it is stored: settings, epochs, scores behind the last step, seconds."""
    with tempfile.TemporaryDirectory() as name:
        settings = settings_of(experiment, Path(name))
        start = time.perf_counter()
        if experiment.method.engine is Engine.TORCH:
            made = _run_torch(settings)
        else:
            made = _run_flexc(settings, experiment, Path(name) / "run")
        made["seconds"] = time.perf_counter() - start
    return {"key": experiment.key, **asdict(experiment), **made}


def settings_of(experiment: Experiment, folder: Path) -> RunSettings:
    """What ``flexc train`` is told; the model and data that have to be made go to ``folder``."""
    task, method = experiment.task, experiment.method
    policy = method.policy
    if policy != DYNAMIC and policy not in catalog_names():
        policy = str(POLICIES / f"{policy}.toml")
    return RunSettings(
        model=str(_model(task.network, task.data, experiment.seed, folder)),
        data=data_path(task.data, folder),
        epochs=task.epochs,
        batch=task.batch,
        learning_rate=LearningRate(task.learning_rate, Schedule.COSINE),
        policy=policy,
        everywhere=method.everywhere,
        rounding=method.rounding,
        profile=Profile.FP32 if method.exact else Profile.FLEXBLOCK,
        batchnorm=BatchNorm.FP32 if method.exact else BatchNorm(method.batchnorm),
        seed=experiment.seed,
        measure_every=5 if policy == DYNAMIC else 10,
        training=TrainingOptions(seed=experiment.seed, weight_decay=task.weight_decay),
        control=ControlOptions() if policy == DYNAMIC else None,
    )


def _model(network: Network, data: str, seed: int, folder: Path) -> Path:
    if network is Network.CLASSIFIER:
        return CLASSIFIER
    make = make_small_resnet if network is Network.RESNET else make_small_mobilenet
    path = folder / "model.onnx"
    onnx.save(make(size=IMAGE_SIZES[data], seed=seed), path)
    return path


def _run_torch(settings: RunSettings) -> dict[str, Any]:
    data = load_data_set(settings.data)
    made = TorchRun if settings.policy == "fp32" else FakeQuantizedTorchRun
    trained = made(settings, data)
    epochs = [{"train_loss": loss, "test_accuracy": tested.accuracy} for loss, tested in trained.epochs()]
    scores = {"train": asdict(trained.score(data.train)), "test": asdict(trained.score(data.test))}
    return {"epochs": epochs, "scores": scores}


def _run_flexc(settings: RunSettings, experiment: Experiment, folder: Path) -> dict[str, Any]:
    fault = experiment.method.broken
    observer = _Recorder(settings, folder, statistics=experiment.method.statistics)
    with broken_quantizer(None if fault is None else Fault(fault)):
        start = time.perf_counter()
        try:
            outcome = train(settings, folder, resume=False, observer=observer, stop=lambda: False)
        except CompileError as failure:
            return {"epochs": [], "failure": str(failure)}
        made: dict[str, Any] = {
            "epochs": [asdict(row) for row in outcome.metrics],
            "training_seconds": time.perf_counter() - start,
            "scores": observer.scores(settings.policy, observer.state()),
        }
    if not experiment.method.exact and settings.batchnorm is BatchNorm.LIGHTNORM:
        made["scores_in_fp32"] = observer.scores("fp32", observer.state())
    if settings.rounding == Rounding.STOCHASTIC:
        made["scores_nearest"] = observer.scores(settings.policy, observer.state(), Rounding.NEAREST)
    if experiment.task.network is Network.CLASSIFIER:
        made["scores_before"] = observer.scores(settings.policy, {})
    if observer.lags:
        made["lags"] = observer.lags
    if observer.decisions:
        made["decisions"] = observer.decisions
    return made


class _Recorder:
    """Hears of epochs; the last checkpoint has the state that it looks into."""

    def __init__(self, settings: RunSettings, folder: Path, *, statistics: bool) -> None:
        self._settings, self._folder = settings, folder
        self._data = load_data_set(settings.data)
        self._model = _load(settings, self._data)
        self._probe = (
            LagProbe(settings, self._model, self._data, Path(settings.model)) if statistics else None
        )
        self.lags: list[dict[str, Any]] = []
        self.decisions: list[dict[str, Any]] = []

    def step(self, report: StepReport) -> None:
        """Nothing to keep."""

    def decision(self, decision: Decision) -> None:
        """Keeps where and when a format changed."""
        point = decision.point
        self.decisions.append(
            {
                "step": decision.step,
                "layer": point.layer,
                "pass": str(point.training_pass),
                "bits": decision.after_bits,
            }
        )

    def epoch(self, metrics: EpochMetrics) -> None:
        """Measures the statistics of the state behind the epoch."""
        if self._probe is None:
            return
        batch, train_set = self._settings.batch, self._data.train
        order = order_of_epoch(len(train_set), seed=self._settings.seed, epoch=metrics.epoch - 1)
        used = order[: len(train_set) // batch * batch]
        recent = train_set.take(used[-RECENT_STEPS * batch :])
        self.lags.append(asdict(self._probe.measure(self.state(), recent)))

    def scores(self, policy: str, state: dict[str, Any], rounding: str | None = None) -> dict[str, Any]:
        """Loss and accuracy of ``state`` on training and test set, computed in ``policy``.

        What is missing in ``state`` is as the model's file has it; ``rounding`` replaces that of the run.
        """
        if policy == DYNAMIC:
            policy = str(self._folder / "policy.toml")
        options = self._settings.compile_options(policy)
        if rounding is not None:
            options = replace(options, rounding=rounding)
        program = self._model.inference_program(options, state)
        parts = {"train": self._data.train, "test": self._data.test}
        return {name: asdict(score(self._model, program, part)) for name, part in parts.items()}

    def state(self) -> dict[str, Any]:
        """That of the last checkpoint."""
        found = read_checkpoint(self._folder)
        assert found is not None, "a run keeps a checkpoint of every epoch"
        return found.state


def _load(settings: RunSettings, data: DataSet) -> TrainedModel:
    return load_trained_model(Path(settings.model), data, batch=settings.batch, options=settings.training)
