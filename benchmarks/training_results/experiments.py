"""What a run is: a network on data (a task), in an arithmetic (a method), from a seed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Network(StrEnum):
    """What is trained."""

    RESNET = "small ResNet"
    MOBILENET = "small MobileNet"
    CLASSIFIER = "text-direction classifier"


class Engine(StrEnum):
    """Who trains."""

    FLEXC = "flexc"
    TORCH = "torch"


@dataclass(frozen=True)
class Task:
    """A network, its data (a name that :func:`benchmarks.training_results.data.data_path` knows), SGD."""

    network: Network
    data: str
    epochs: int
    batch: int = 50
    learning_rate: float = 0.05
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Method:
    """An arithmetic. ``policy`` may be ``dynamic`` or the name of a file in ``policies/``.

    ``exact``: fp32 with exact batch norms; ``batchnorm``: that of the other methods. ``broken`` names a
    broken quantizer. ``statistics`` compares running statistics with those of batches after each epoch.
    """

    policy: str = "fp32"
    everywhere: bool = False
    rounding: str | None = None
    exact: bool = False
    batchnorm: str = "lightnorm"
    engine: Engine = Engine.FLEXC
    broken: str | None = None
    statistics: bool = False


@dataclass(frozen=True)
class Experiment:
    """One run; the seed is that of the first weights, of the order of examples and of stochastic rounding."""

    task: Task
    method: Method
    seed: int

    @property
    def key(self) -> str:
        """The address of its result: a hash of all settings."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Experiment:
        """The experiment of a stored result."""
        task, method = found["task"], found["method"]
        return cls(
            Task(**{**task, "network": Network(task["network"])}),
            Method(**{**method, "engine": Engine(method["engine"])}),
            found["seed"],
        )
