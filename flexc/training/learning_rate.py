"""Learning rates over the steps of a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import cos, pi


class Schedule(StrEnum):
    """How the learning rate changes."""

    CONSTANT = "constant"
    COSINE = "cosine"
    STEPS = "steps"


@dataclass(frozen=True)
class LearningRate:
    """``initial`` in the first step; cosine falls to 0 behind the last step of the run.

    With steps it is multiplied by ``factor`` after every ``every_epochs`` epochs.
    """

    initial: float
    schedule: Schedule = Schedule.CONSTANT
    every_epochs: int = 10
    factor: float = 0.1

    def at(self, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        """The learning rate of ``step``, counted from 0."""
        if self.schedule is Schedule.COSINE:
            return self.initial * 0.5 * (1 + cos(pi * step / (steps_per_epoch * epochs)))
        if self.schedule is Schedule.STEPS:
            return float(self.initial * self.factor ** (step // steps_per_epoch // self.every_epochs))
        return self.initial
