"""Running a sweep: what is missing is evaluated, what is there is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from flexc.analysis.sweeping.engines import Engine
from flexc.analysis.sweeping.point import Point, keys_of
from flexc.analysis.sweeping.store import Cost, Result, Store, row
from flexc.diagnostics import CompileError

Evaluate = Callable[[Point], Cost]


@dataclass(frozen=True)
class PointTask:
    """Evaluates a point and stores the result; a user's error is a result, a bug is not."""

    points: Mapping[str, Point]
    store: Store
    evaluate: Evaluate

    def __call__(self, key: str) -> None:
        """Nothing is done where the store has the result: a task that runs twice counts once."""
        if self.store.get(key) is not None:
            return
        point = self.points[key]
        start = time.perf_counter()
        try:
            cost, failure = self.evaluate(point), None
        except CompileError as problem:
            cost, failure = None, problem
        seconds = time.perf_counter() - start
        if failure is None:
            self.store.put(key, Result(point, cost, seconds=seconds))
        else:
            self.store.put(key, Result(point, None, failure.diagnostics[0].code, str(failure), seconds))


def run_sweep(
    points: Sequence[Point],
    store: Store,
    evaluate: Evaluate,
    engine: Engine,
    done: Callable[[str], object] = lambda key: None,
) -> list[dict[str, object]]:
    """A row for each point, in order; those that the store lacks are evaluated by ``engine``.

    ``done`` is told each key as it is finished.
    """
    keys = keys_of(points)
    missing = [key for key in dict.fromkeys(keys) if store.get(key) is None]
    task = PointTask(dict(zip(keys, points, strict=True)), store, evaluate)
    for key in engine(task, missing):
        done(key)
    rows = []
    for key in keys:
        result = store.get(key)
        assert result is not None, f"the result of {key} is not there"
        rows.append(row(key, result))
    return rows
