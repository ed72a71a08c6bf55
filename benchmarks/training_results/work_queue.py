"""Runs experiments in processes of their own, so many at a time, and keeps each result when it is there."""

from __future__ import annotations

import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

from benchmarks.training_results.experiments import Experiment
from benchmarks.training_results.runs import run
from benchmarks.training_results.store import Results


def work(
    experiments: Iterator[Experiment],
    results: Results,
    *,
    processes: int,
    minutes: float,
    report: Callable[[str], None],
) -> bool:
    """Runs what has no result yet, in order; starts nothing after ``minutes``. True if no run failed.

    A broken run leaves no result and its traceback on stderr; the others go on.
    """
    start = time.monotonic()
    fine = True
    running: dict[Future[dict[str, Any]], Experiment] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, max_tasks_per_child=1) as pool:
        while True:
            while len(running) < processes and time.monotonic() - start < 60 * minutes:
                experiment = next((one for one in experiments if not results.has(one)), None)
                if experiment is None:
                    break
                running[pool.submit(run, experiment)] = experiment
            if not running:
                return fine
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                experiment = running.pop(done)
                failure = done.exception()
                if failure is not None:
                    fine = False
                    traceback.print_exception(failure, file=sys.stderr)
                    continue
                results.add(experiment, done.result())
                report(_line(done.result()))


def _line(result: dict[str, Any]) -> str:
    task, method = result["task"], result["method"]
    what = " ".join(f"{name}={value}" for name, value in method.items() if value)
    head = f"{result['seconds']:6.1f} s  {task['network']} {task['data']} seed {result['seed']}  {what}"
    if "failure" in result:
        return f"{head}  {result['failure'].splitlines()[0]}"
    last = result["epochs"][-1]
    return f"{head}  test {last['test_accuracy']:.2%} loss {last['train_loss']:.4f}"
