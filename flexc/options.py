"""What a model is compiled with; recorded in the artefact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Profile(StrEnum):
    """Which arithmetic a program uses: that of the accelerator, or fp32 without any quantization."""

    FLEXBLOCK = "flexblock"
    FP32 = "fp32"


class BatchNorm(StrEnum):
    """How the flexblock profile computes batch normalization."""

    LIGHTNORM = "lightnorm"
    FP32 = "fp32"


@dataclass(frozen=True)
class CompileOptions:
    """The options of :func:`flexc.compile` that decide what comes out."""

    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    batch: int | None = None
    policy: str = "FB16"
    everywhere: bool = False
    profile: Profile = Profile.FLEXBLOCK
    batchnorm: BatchNorm = BatchNorm.LIGHTNORM
    target: str = "flexblock"
    rounding: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, as the manifest holds them."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> CompileOptions:
        """The options that :meth:`to_json` wrote; TypeError, KeyError or ValueError for anything else."""
        shapes = {name: tuple(shape) for name, shape in found["input_shapes"].items()}
        return cls(
            **{
                **found,
                "input_shapes": shapes,
                "profile": Profile(found["profile"]),
                "batchnorm": BatchNorm(found["batchnorm"]),
            }
        )
