"""Seconds that the mapping search takes on the contractions of a training step, without any cache.

python -m benchmarks.mapping [--network resnet50] [--batch 64] [--policy FB16]
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import click
import onnx
from xdsl.ir import Operation

from flexc.importer.load import load_model
from flexc.ir.bfp import ConvLocalGradOp, ConvOp, ConvWeightGradOp, MatMulOp
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.search import search
from flexc.options import CompileOptions, TrainingOptions
from flexc.passes.manager import run_pipeline
from flexc.passes.map_contractions import problems_of
from flexc.passes.pipelines import differentiation_of, training_pipeline
from flexc.target import load_target
from models.make_resnet import DEPTHS, make_resnet


def distinct_problems(network: str, batch: int, policy: str) -> list[ContractionProblem]:
    """The contractions of a training step, each once, in the order of the graph."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / f"{network}.onnx"
        onnx.save(make_resnet(network, batch=batch), model)
        graph = load_model(model)
    options = CompileOptions(policy=policy, training=TrainingOptions())
    run_pipeline(graph, training_pipeline(options, differentiation_of(TrainingOptions())))
    found: dict[ContractionProblem, None] = {}
    for op in graph.main.walk():
        found.update(dict.fromkeys(_problems(op)))
    return list(found)


def _problems(op: Operation) -> tuple[ContractionProblem, ...]:
    if isinstance(op, ConvOp | MatMulOp | ConvLocalGradOp | ConvWeightGradOp):
        return problems_of(op)
    return ()


@click.command(help=__doc__)
@click.option("--network", type=click.Choice(sorted(DEPTHS)), default="resnet50", show_default=True)
@click.option("--batch", default=64, show_default=True)
@click.option("--policy", default="FB16", show_default=True)
@click.option("--target", default="flexblock", show_default=True)
def main(network: str, batch: int, policy: str, target: str) -> None:
    machine = load_target(target)
    problems = distinct_problems(network, batch, policy)
    taken = []
    for problem in problems:
        start = time.perf_counter()
        search(problem, machine)
        taken.append(time.perf_counter() - start)
    click.echo(f"{len(problems)} distinct contractions of a training step of {network} at batch {batch}")
    click.echo(f"search, median    {1e3 * statistics.median(taken):8.1f} ms")
    click.echo(f"search, longest   {1e3 * max(taken):8.1f} ms")
    click.echo(f"search, together  {sum(taken):8.2f} s")


if __name__ == "__main__":
    main()
