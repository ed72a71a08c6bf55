"""What evaluates the points of a sweep: this process, several of this machine, or a Ray cluster.

A worker takes the points that share a workload together, and writes the result of each to the store itself.
One that dies takes at most its unfinished point with it: Ray runs its task again; on one machine it is given
to a new worker. Points with a result are not evaluated again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

from flexc.diagnostics import error

EngineName: TypeAlias = Literal["local", "ray"]
Keys: TypeAlias = tuple[str, ...]
"""Points that one worker evaluates."""
Task: TypeAlias = Callable[[Keys], None]
"""Evaluates the points with these keys, and stores their results."""
Engine: TypeAlias = Callable[[Task, Sequence[Keys]], Iterator[Keys]]
"""Runs a task for all keys, and yields those of each call once they are done."""

RESTARTS = 3
"""How often a task is given to a new worker after one has died."""


def in_process(task: Task, shares: Sequence[Keys]) -> Iterator[Keys]:
    """One point after the other."""
    for keys in shares:
        task(keys)
        yield keys


def local_processes(jobs: int) -> Engine:
    """Worker processes of this machine (joblib with loky); CompileError FX588 without joblib."""
    try:
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError
    except ImportError as cause:
        raise error(
            "FX588", "several jobs need the package joblib", hint="pip install 'flexc[sweep]'"
        ) from cause

    def run(task: Task, shares: Sequence[Keys]) -> Iterator[Keys]:
        def named(keys: Keys) -> Keys:
            task(keys)
            return keys

        left = dict.fromkeys(shares)
        for attempt in range(RESTARTS + 1):
            parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
            try:
                for keys in parallel(delayed(named)(keys) for keys in tuple(left)):
                    del left[keys]
                    yield keys
                return
            except TerminatedWorkerError:
                if attempt == RESTARTS:
                    raise

    return run


def ray_cluster(jobs: int, address: str | None) -> Engine:
    """Tasks on a Ray cluster: that of ``address``, or one of ``jobs`` workers that is started here.

    Raises CompileError FX588 without ray. The store's folder must be one that all its machines see.
    """
    try:
        import ray
    except ImportError as cause:
        raise error(
            "FX588", "the engine ray needs the package ray", hint="pip install 'flexc[cluster]'"
        ) from cause

    def run(task: Task, shares: Sequence[Keys]) -> Iterator[Keys]:
        def evaluate(keys: Keys) -> None:
            task(keys)

        started = not ray.is_initialized()
        if started:
            ray.init(address=address, num_cpus=None if address else jobs, log_to_driver=False)
        try:
            remote: Any = ray.remote(max_retries=RESTARTS, num_cpus=1)(evaluate)
            waiting = {remote.remote(keys): keys for keys in shares}
            while waiting:
                done, _ = ray.wait(list(waiting))
                for reference in done:
                    ray.get(reference)
                    yield waiting.pop(reference)
        finally:
            if started:
                ray.shutdown()

    return run
