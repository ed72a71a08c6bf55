"""Numbers of runs that differ in nothing but their seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from benchmarks.training_results.experiments import Method, Task
from benchmarks.training_results.summary import RunSummary


@dataclass(frozen=True)
class Spread:
    """Mean, least and largest of the values of some seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean; of no value, a ValueError."""
        return mean(self.values)

    def percent(self) -> str:
        """``98.31 (97.75 to 98.59)``, in percent; without the range where there is one seed."""
        text = f"{self.mean:.2%}".removesuffix("%")
        if len(self.values) > 1:
            text += f" ({min(self.values):.2%} to {max(self.values):.2%})".replace("%", "")
        return text


class Runs:
    """Finished runs, by task and method."""

    def __init__(self, summaries: Iterable[RunSummary]) -> None:
        self._found: dict[tuple[Task, Method], list[RunSummary]] = {}
        for one in summaries:
            method = replace(one.experiment.method, statistics=False)
            self._found.setdefault((one.experiment.task, method), []).append(one)

    def of(self, task: Task, method: Method) -> Sequence[RunSummary]:
        """The runs of all seeds that did not break off, sorted by seed."""
        found = self._found.get((task, replace(method, statistics=False)), [])
        return sorted((one for one in found if one.failure is None), key=lambda one: one.experiment.seed)

    def failures(self, task: Task, method: Method) -> list[str]:
        """Why runs broke off."""
        found = self._found.get((task, replace(method, statistics=False)), [])
        return [one.failure for one in found if one.failure is not None]

    def spread(
        self, task: Task, method: Method, value: Callable[[RunSummary], float | None]
    ) -> Spread | None:
        """The values of all seeds that have one; None where there is none."""
        values = tuple(found for one in self.of(task, method) if (found := value(one)) is not None)
        return Spread(values) if values else None
