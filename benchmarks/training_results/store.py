"""Results on disk: a JSON file a run, named by the hash of its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.training_results.experiments import Experiment
from flexc.training.checkpoint import replace_text


class Results:
    """The results in ``folder``, which is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def has(self, experiment: Experiment) -> bool:
        """Whether the run is finished."""
        return self._path(experiment).exists()

    def add(self, experiment: Experiment, result: dict[str, Any]) -> None:
        """Keeps a finished run; the file is whole or not there."""
        replace_text(self._path(experiment), json.dumps(result, indent=1) + "\n")

    def all(self) -> list[dict[str, Any]]:
        """Every result, sorted by key."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self._folder.glob("*.json"))]

    def _path(self, experiment: Experiment) -> Path:
        return self._folder / f"{experiment.key}.json"
