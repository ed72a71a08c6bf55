"""The NumPy program against onnxruntime on one thread: time and peak memory of whole networks.

    python -m benchmarks.executor [--policy FB16] [--repeats 20]

Times are medians of calls that alternate in one process; peaks of resident memory are those of two more
processes that load the model and run it once. onnxruntime computes in fp32.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import onnx

import flexc
from benchmarks.peak_memory import LOADERS, Run, peak_bytes
from models.make_mobilenet import make_mobilenet_v2
from models.make_resnet import make_resnet

NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "resnet18": lambda: make_resnet("resnet18"),
    "mobilenet_v2": make_mobilenet_v2,
}
WARM_UP_CALLS = 3
HEADER = f"{'network':14} {'policy':8} {'onnxruntime':>12} {'executor':>12} {'ratio':>7} {'peaks':>18} ratio"


def median_seconds(calls: dict[str, Run], x: npt.NDArray[np.float32], repeats: int) -> dict[str, float]:
    """Median time of each call, taken in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(WARM_UP_CALLS + repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call(x)
            if number >= WARM_UP_CALLS:
                seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(found)) for name, found in seconds.items()}


def measure(name: str, policy: str, repeats: int, folder: Path) -> str:
    """The row of one network in one policy."""
    model, artefact, x_path = folder / f"{name}.onnx", folder / f"{name}.flexc", folder / f"{name}.npy"
    onnx.save(NETWORKS[name](), model)
    program = flexc.compile(model, output=artefact, policy=policy)
    x = np.random.default_rng(0).standard_normal(program.inputs[0].shape).astype(np.float32)
    np.save(x_path, x)
    paths = {"onnxruntime": model, "executor": artefact}
    seconds = median_seconds({kind: LOADERS[kind](path) for kind, path in paths.items()}, x, repeats)
    peaks = {kind: peak_bytes(kind, path, x_path) for kind, path in paths.items()}
    times = [f"{1e3 * seconds[kind]:9.1f} ms" for kind in paths]
    megabytes = " / ".join(f"{peaks[kind] / 1e6:.0f} MB" for kind in paths)
    return (
        f"{name:14} {policy:8} {times[0]} {times[1]} {seconds['executor'] / seconds['onnxruntime']:7.2f} "
        f"{megabytes:>18} {peaks['executor'] / peaks['onnxruntime']:5.2f}"
    )


@click.command(help=__doc__)
@click.option("--policy", "policies", multiple=True, default=("FB16",), show_default=True)
@click.option(
    "--network", "networks", multiple=True, type=click.Choice(list(NETWORKS)), default=list(NETWORKS)
)
@click.option("--repeats", default=20, show_default=True)
def main(policies: tuple[str, ...], networks: tuple[str, ...], repeats: int) -> None:
    click.echo(f"batch 1, one thread, median of {repeats}; peaks of resident memory: onnxruntime / executor")
    click.echo(HEADER)
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
