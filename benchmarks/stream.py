"""The simulator of instruction streams against the executor, on one thread: times of whole networks.

    python -m benchmarks.stream [--policy FB16] [--repeats 3]

Times are medians of calls in turns. In one process: of a simulator that has run before, as the executor has
(``ready``), and of one that is made for the call from a stream in memory (``new``). Then of whole processes,
``python executor.py IN OUT`` and the simulator's, which end after one run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import onnx

import flexc
from benchmarks.executor import NETWORKS, median_seconds
from flexc.array_files import write_npz
from flexc.backends.stream.encode import read_stream
from flexc.backends.stream.run import simulate_file
from flexc.backends.stream.simulate import Simulator, simulate
from flexc.numerics.acceleration import use_compiled


def measure(network: str, policy: str, repeats: int, folder: Path) -> str:
    """The row of one network in one policy."""
    model, artefact = folder / f"{network}.onnx", folder / f"{network}.flexc"
    onnx.save(NETWORKS[network](), model)
    flexc.compile(model, output=artefact, policy=policy)
    program = flexc.load(artefact)
    stream_path = artefact / "stream.bin"
    stream = read_stream(stream_path)
    spec = program.inputs[0]
    x = np.random.default_rng(0).standard_normal(spec.shape).astype(np.float32)
    inputs = folder / "inputs.npz"
    write_npz(inputs, {spec.name: x})
    executor = [sys.executable, str(artefact / "executor.py"), str(inputs), str(folder / "outputs.npz")]
    simulator = Simulator(stream)
    calls = {
        "executor": lambda x: program.run({spec.name: x}),
        "ready": lambda x: simulator.run({spec.name: x}),
        "new": lambda x: simulate(stream, {spec.name: x}),
        "executor process": lambda x: subprocess.run(executor, check=True),
        "process": lambda x: simulate_file(stream_path, {spec.name: x}),
    }
    seconds = median_seconds(calls, x, repeats, warm_up=1)
    row = f"{network:14} {policy:6} {len(stream.records):8} {1e3 * seconds['executor']:9.1f} ms"
    for kind in ("ready", "new"):
        row += f" | {seconds[kind]:7.2f} s {seconds[kind] / seconds['executor']:6.1f}x"
    row += f" | {seconds['executor process']:6.2f} s | {seconds['process']:7.2f} s"
    return row + f" {seconds['process'] / seconds['executor process']:6.1f}x"


@click.command(help=__doc__)
@click.option("--policy", "policies", multiple=True, default=("FB16",), show_default=True)
@click.option(
    "--network", "networks", multiple=True, type=click.Choice(list(NETWORKS)), default=list(NETWORKS)
)
@click.option("--repeats", default=3, show_default=True)
def main(policies: tuple[str, ...], networks: tuple[str, ...], repeats: int) -> None:
    kernels = "compiled kernels" if use_compiled() else "NumPy alone"
    click.echo(f"batch 1, one thread, medians of {repeats}, {kernels}")
    titles = f"{'network':14} {'policy':6} {'records':>8} {'executor':>12} | {'ready':>17} | {'new':>17}"
    click.echo(f"{titles} | {'process':>8} | {'simulator process':>17}")
    with tempfile.TemporaryDirectory() as folder:
        for network in networks:
            for policy in policies:
                click.echo(measure(network, policy, repeats, Path(folder)))


if __name__ == "__main__":
    # NumPy's BLAS reads the number of threads when it is loaded: that takes a new process.
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.stream", *sys.argv[1:]])
    main()
