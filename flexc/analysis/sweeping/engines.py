"""What evaluates the points of a sweep: this process, several of this machine, or a Ray cluster.

Each task writes its result to the store itself. A worker that dies takes at most its unfinished point with
it: Ray runs that task again; on one machine the points without a result are given to new workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

from flexc.diagnostics import error

EngineName: TypeAlias = Literal["local", "ray"]
Task: TypeAlias = Callable[[str], None]
"""Evaluates the point with this key, and stores its result."""
Engine: TypeAlias = Callable[[Task, Sequence[str]], Iterator[str]]
"""Runs a task for all keys, and yields each key once it is done."""

RESTARTS = 3
"""How often a task is given to a new worker after one has died."""


def in_process(task: Task, keys: Sequence[str]) -> Iterator[str]:
    """One point after the other."""
    for key in keys:
        task(key)
        yield key


def local_processes(jobs: int) -> Engine:
    """Worker processes of this machine (joblib with loky); CompileError FX588 without joblib."""
    try:
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError
    except ImportError as cause:
        raise error(
            "FX588", "several jobs need the package joblib", hint="pip install 'flexc[sweep]'"
        ) from cause

    def run(task: Task, keys: Sequence[str]) -> Iterator[str]:
        def named(key: str) -> str:
            task(key)
            return key

        left = dict.fromkeys(keys)
        for attempt in range(RESTARTS + 1):
            parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
            try:
                for key in parallel(delayed(named)(key) for key in tuple(left)):
                    del left[key]
                    yield key
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

    def run(task: Task, keys: Sequence[str]) -> Iterator[str]:
        def evaluate(key: str) -> None:
            task(key)

        started = not ray.is_initialized()
        if started:
            ray.init(address=address, num_cpus=None if address else jobs, log_to_driver=False)
        try:
            remote: Any = ray.remote(max_retries=RESTARTS, num_cpus=1)(evaluate)
            waiting = {remote.remote(key): key for key in keys}
            while waiting:
                done, _ = ray.wait(list(waiting))
                for reference in done:
                    ray.get(reference)
                    yield waiting.pop(reference)
        finally:
            if started:
                ray.shutdown()

    return run
