"""What a run was started with, as ``run.json`` holds it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from flexc.artefact import sha256_of
from flexc.datasets.arrays import DataSet
from flexc.diagnostics import Place, error
from flexc.options import BatchNorm, CompileOptions, Profile, TrainingOptions
from flexc.passes.differentiation.parts import micro_batch_of
from flexc.training.binding import Binding
from flexc.training.learning_rate import LearningRate, Schedule
from flexc.training.precision_control import ControlOptions
from flexc.training.signals import Signal
from flexc.versioned_json import versioned_json

SCHEMA = "flexc.training-run"
SCHEMA_VERSION = 2
RUN_FILE = "run.json"


@dataclass(frozen=True)
class RunSettings:
    """The options of a run.

    data: a name or an .npz file; label: the name of its labels there, None for the usual ones. batch:
    examples a step; the last of an epoch that do not fill a batch are left out. seed: of the order of the
    examples, of dropouts and of stochastic rounding. measure_every: steps from one measurement of
    zero-setting errors to the next. control: None unless precision is dynamic.
    """

    model: str
    data: str
    epochs: int
    batch: int
    learning_rate: LearningRate
    policy: str = "FB16"
    everywhere: bool = False
    rounding: str | None = None
    profile: Profile = Profile.FLEXBLOCK
    batchnorm: BatchNorm = BatchNorm.LIGHTNORM
    target: str = "flexblock"
    seed: int = 0
    measure_every: int = 10
    training: TrainingOptions = field(default_factory=TrainingOptions)
    control: ControlOptions | None = None
    label: str | None = None

    def compile_options(self, policy: str) -> CompileOptions:
        """The options of the step's compilation, with ``policy`` for its precision.

        A controller's policy names every layer in an override, so ``everywhere``, which drops them, is void.
        """
        return CompileOptions(
            batch=self.batch,
            policy=policy,
            everywhere=self.everywhere and self.control is None,
            profile=self.profile,
            batchnorm=self.batchnorm,
            target=self.target,
            rounding=self.rounding,
            training=self.training,
        )


@dataclass(frozen=True)
class RunRecord:
    """``run.json``: the settings, hashes of the model's file and of the data, and shapes.

    ``example_shapes`` are those of one example of each of the model's inputs. The path of the model in it is
    relative to the run's folder.
    """

    settings: RunSettings
    model_sha256: str
    data_sha256: str
    example_shapes: dict[str, tuple[int, ...]]

    @property
    def rows(self) -> int:
        """Examples that one run of a program takes: a micro-batch."""
        return micro_batch_of(self.settings.batch, self.settings.training.micro_batches)

    def write(self, folder: Path) -> None:
        """Writes the file into ``folder``, which exists."""
        relative = os.path.relpath(Path(self.settings.model).resolve(), folder.resolve())
        found = asdict(self)
        found["settings"]["model"] = relative
        (folder / RUN_FILE).write_text(versioned_json(SCHEMA, SCHEMA_VERSION, found), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """The record in ``folder``; CompileError FX570 where there is none that this version reads."""
        path = folder / RUN_FILE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if (found["schema"], found["schema_version"]) != (SCHEMA, SCHEMA_VERSION):
                raise ValueError(f"its schema is {found['schema']} version {found['schema_version']}")
            settings = _settings(found["settings"])
            model = os.path.normpath(folder / settings.model)
            hashes = (found["model_sha256"], found["data_sha256"])
            shapes = {name: tuple(shape) for name, shape in found["example_shapes"].items()}
            return cls(replace(settings, model=model), *hashes, shapes)
        except FileNotFoundError as cause:
            raise error(
                "FX570",
                f"there is no run here: no {RUN_FILE}",
                place=Place(str(folder)),
                hint="flexc train MODEL --data DATA -o RUN starts one",
            ) from cause
        except (AttributeError, KeyError, TypeError, ValueError) as cause:
            raise error("FX570", f"the run cannot be read: {cause!r}", place=Place(str(path))) from cause

    def require_same(self, started: RunRecord, folder: Path) -> None:
        """CompileError FX572 unless this run would continue the one that ``started`` records."""
        changed = [
            f"{entry.name} was {old}, not {new}"
            for entry in fields(RunSettings)
            if entry.name != "model"
            and (old := getattr(started.settings, entry.name)) != (new := getattr(self.settings, entry.name))
        ]
        if started.model_sha256 != self.model_sha256:
            changed.append("the model is another")
        if started.data_sha256 != self.data_sha256:
            changed.append("the data are others")
        if changed:
            raise error(
                "FX572",
                "the run was started with other options",
                place=Place(str(folder)),
                detail="; ".join(changed),
                hint="resume it with its own options (run.json), or start another run",
            )


def record_of(settings: RunSettings, data: DataSet, binding: Binding) -> RunRecord:
    """The record of a run that starts now."""
    return RunRecord(settings, sha256_of(Path(settings.model)), data.sha256(), binding.shapes(data))


def _settings(found: Mapping[str, Any]) -> RunSettings:
    rate, control = found["learning_rate"], found["control"]
    return RunSettings(
        **{
            **found,
            "learning_rate": LearningRate(**{**rate, "schedule": Schedule(rate["schedule"])}),
            "profile": Profile(found["profile"]),
            "batchnorm": BatchNorm(found["batchnorm"]),
            "training": TrainingOptions(**found["training"]),
            "control": None if control is None else _control(control),
        }
    )


def _control(found: Mapping[str, Any]) -> ControlOptions:
    return ControlOptions(**{**found, "signal": Signal(found["signal"])})
