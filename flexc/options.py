"""What a model is compiled with; recorded in the artefact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Profile(StrEnum):
    """Which arithmetic a program uses (numerics specification, section 6).

    That of the accelerator; that of the published emulator, which quantizes operands and multiplies in fp32
    (no mapping, no stream); or fp32 without any quantization.
    """

    FLEXBLOCK = "flexblock"
    BFPSIM = "bfpsim"
    FP32 = "fp32"


class BatchNorm(StrEnum):
    """How the flexblock profile computes batch normalization."""

    LIGHTNORM = "lightnorm"
    FP32 = "fp32"


@dataclass(frozen=True)
class TrainingOptions:
    """What makes a training step of a model (numerics specification, section 4).

    loss: "cross-entropy", "mean-squared-error", or "output" for one that the model computes itself; output:
    which output it is taken of, where the model has several. optimizer: "sgd", which has the momentum, or
    "adam", which has beta1, beta2 and epsilon. statistics_momentum: what running statistics keep of
    themselves in a step. train, freeze: patterns of weight names, with commas between, to train beside the
    usual ones or to leave alone.
    seed: that of dropouts and of stochastic rounding.
    micro_batches: in how many parts a batch runs, "gradients" one after another and then "update"; part:
    which of these programs it is, or "step" where a batch runs whole.
    """

    loss: str = "cross-entropy"
    output: str = ""
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    statistics_momentum: float = 0.9
    train: str = ""
    freeze: str = ""
    seed: int = 0
    micro_batches: int = 1
    part: str = "step"


@dataclass(frozen=True)
class CompileOptions:
    """The options of :func:`flexc.compile` that decide what comes out.

    ``training`` is None for a program that infers.
    """

    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    batch: int | None = None
    policy: str = "FB16"
    everywhere: bool = False
    profile: Profile = Profile.FLEXBLOCK
    batchnorm: BatchNorm = BatchNorm.LIGHTNORM
    target: str = "flexblock"
    rounding: str | None = None
    training: TrainingOptions | None = None

    @property
    def rows(self) -> int | None:
        """Examples that one run of the program takes: a batch, or a micro-batch of it."""
        if self.batch is None or self.training is None:
            return self.batch
        return self.batch // self.training.micro_batches

    def to_json(self) -> dict[str, Any]:
        """Plain values, as the manifest holds them."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> CompileOptions:
        """The options that :meth:`to_json` wrote; TypeError, KeyError or ValueError for anything else."""
        shapes = {name: tuple(shape) for name, shape in found["input_shapes"].items()}
        training = found.get("training")
        return cls(
            **{
                **found,
                "input_shapes": shapes,
                "profile": Profile(found["profile"]),
                "batchnorm": BatchNorm(found["batchnorm"]),
                "training": None if training is None else TrainingOptions(**training),
            }
        )
