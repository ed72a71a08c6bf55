"""Running a sweep: what is missing is evaluated, what is there is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from flexc.analysis.sweeping.engines import Engine, Keys
from flexc.analysis.sweeping.point import Point, keys_of
from flexc.analysis.sweeping.store import Cost, Result, Store, row
from flexc.diagnostics import CompileError

Evaluate = Callable[[Point], Cost]


@dataclass(frozen=True)
class PointTask:
    """Evaluates points and stores their results; a user's error is a result, a bug is not."""

    points: Mapping[str, Point]
    store: Store
    evaluate: Evaluate

    def __call__(self, keys: Keys) -> None:
        """Nothing is done where the store has the result: a point that is given out twice counts once."""
        for key in keys:
            if self.store.get(key) is None:
                self._evaluate(key)

    def _evaluate(self, key: str) -> None:
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
    shares: Callable[[Point], Hashable] = lambda point: point,
) -> list[dict[str, object]]:
    """A row for each point, in order; those that the store lacks are evaluated by ``engine``.

    ``done`` is told the keys that are finished. Points with the same ``shares`` are evaluated by one
    worker, which has what they share once.
    """
    keys = keys_of(points)
    by_key = dict(zip(keys, points, strict=True))
    missing: dict[Hashable, list[str]] = {}
    for key, point in by_key.items():
        if store.get(key) is None:
            missing.setdefault(shares(point), []).append(key)
    task = PointTask(by_key, store, evaluate)
    for finished in engine(task, [tuple(each) for each in missing.values()]):
        for key in finished:
            done(key)
    rows = []
    for key in keys:
        result = store.get(key)
        assert result is not None, f"the result of {key} is not there"
        rows.append(row(key, result))
    return rows
