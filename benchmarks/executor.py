"""The emitted program against onnxruntime on one thread: time and peak memory of whole networks.

    python -m benchmarks.executor [--policy FB16] [--repeats 20]

The program runs with NumPy alone and, where numba is installed, with compiled kernels. Times are medians of
calls that alternate in one process; peaks of resident memory are those of further processes that load the
model and run it once. onnxruntime computes in fp32.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import onnx

import flexc
from benchmarks.peak_memory import LOADERS, Run, peak_bytes
from flexc.numerics.acceleration import VARIABLE, use_compiled
from models.make_mobilenet import make_mobilenet_v2
from models.make_resnet import make_resnet

NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "resnet18": lambda: make_resnet("resnet18"),
    "mobilenet_v2": make_mobilenet_v2,
}
WARM_UP_CALLS = 3
ENGINES = {"NumPy": "1"} | ({"numba": "0"} if find_spec("numba") else {})
"""What the program may compute with, and the value of the variable that says so."""


def on_engine(run: Run, engine: str) -> Run:
    """``run`` with NumPy alone or with compiled kernels."""

    def call(x: npt.NDArray[np.float32]) -> Any:
        os.environ[VARIABLE] = ENGINES[engine]
        use_compiled.cache_clear()
        return run(x)

    return call


def median_seconds(
    calls: dict[str, Run], x: npt.NDArray[np.float32], repeats: int, *, warm_up: int = WARM_UP_CALLS
) -> dict[str, float]:
    """Median time of each call, taken in turns, without the first ``warm_up``."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(warm_up + repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call(x)
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(found)) for name, found in seconds.items()}


def measure(name: str, policy: str, repeats: int, folder: Path) -> str:
    """The row of one network in one policy."""
    model, artefact, x_path = folder / f"{name}.onnx", folder / f"{name}.flexc", folder / f"{name}.npy"
    onnx.save(NETWORKS[name](), model)
    program = flexc.compile(model, output=artefact, policy=policy)
    x = np.random.default_rng(0).standard_normal(program.inputs[0].shape).astype(np.float32)
    np.save(x_path, x)
    executor = LOADERS["executor"](artefact)
    calls = {"onnxruntime": LOADERS["onnxruntime"](model)}
    calls |= {engine: on_engine(executor, engine) for engine in ENGINES}
    seconds = median_seconds(calls, x, repeats)
    reference, reference_peak = seconds["onnxruntime"], peak_bytes("onnxruntime", model, x_path)
    row = f"{name:14} {policy:6} {1e3 * reference:8.1f} ms {reference_peak / 1e6:5.0f} MB"
    for engine, switch in ENGINES.items():
        os.environ[VARIABLE] = switch
        peak = peak_bytes("executor", artefact, x_path)
        row += f" | {1e3 * seconds[engine]:8.1f} ms {seconds[engine] / reference:6.2f}x"
        row += f" {peak / 1e6:5.0f} MB {peak / reference_peak:5.2f}x"
    return row


@click.command(help=__doc__)
@click.option("--policy", "policies", multiple=True, default=("FB16",), show_default=True)
@click.option(
    "--network", "networks", multiple=True, type=click.Choice(list(NETWORKS)), default=list(NETWORKS)
)
@click.option("--repeats", default=20, show_default=True)
def main(policies: tuple[str, ...], networks: tuple[str, ...], repeats: int) -> None:
    click.echo(
        f"batch 1, one thread, medians of {repeats}; numba is {'in use' if 'numba' in ENGINES else 'missing'}"
    )
    titles = [f"{'onnxruntime':>20}", *(f"{f'executor, {engine}: time, peak':>34}" for engine in ENGINES)]
    click.echo(f"{'network':14} {'policy':6} {' | '.join(titles)}")
    with tempfile.TemporaryDirectory() as folder:
        for network in networks:
            for policy in policies:
                click.echo(measure(network, policy, repeats, Path(folder)))


if __name__ == "__main__":
    # NumPy's BLAS reads the number of threads when it is loaded: that takes a new process.
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.executor", *sys.argv[1:]])
    main()
