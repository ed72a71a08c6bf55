"""``flexc sweep``: what many combinations cost, in a table."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from flexc.analysis.sweeping.engines import Engine, EngineName, in_process, local_processes, ray_cluster
from flexc.analysis.sweeping.evaluate import evaluate, shares_of
from flexc.analysis.sweeping.pareto import pareto_front, plot_pareto
from flexc.analysis.sweeping.run import run_sweep
from flexc.analysis.sweeping.specification import load_sweep
from flexc.analysis.sweeping.store import Store
from flexc.analysis.sweeping.table import check_table, write_table
from flexc.cli.progress import counting
from flexc.figure_file import check_figure
from flexc.versioned_json import versioned_json

SCHEMA = "flexc.sweep"
SCHEMA_VERSION = 1
SECONDS_PER_HOUR = 3600


@click.command(short_help="Estimate many combinations of models, machines and policies.")
@click.argument("sweep_file", metavar="SWEEP.toml", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
    help="Table to write, .parquet or .csv. FILE.points beside it keeps what is done.",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
    help="Processes of this machine, or tasks on a Ray cluster.",
)  # fmt: skip
@click.option("--ray-address", metavar="HOST:PORT", help="Cluster to join; one is started here without it.")
@click.option(
    "--plot", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
    help="Draw cycles against energy with the Pareto front (.png, .svg or .pdf).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def sweep(
    sweep_file: Path,
    output: Path,
    jobs: int,
    engine: EngineName,
    ray_address: str | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Estimate cycles, energy, bytes and area of every combination that SWEEP.toml lists.

    A combination that cannot be compiled is a row with its error. A sweep that was stopped continues where it
    was; results are kept by their contents, so changed models, machines or policies are estimated anew.
    Costs rest on the assumed values of the targets, and say nothing of accuracy.

    \b
    Example of a SWEEP.toml:
      models = ["resnet18.onnx", "mobilenet_v2.onnx"]
      targets = ["flexblock", "flexblock-edge"]
      policies = ["FB12", "FB16", "mine.toml"]
      batches = [1, 64]
      train = [false, true]
    """
    points = list(load_sweep(sweep_file).points())
    check_table(output)
    if plot is not None:
        check_figure(plot)
    run: Engine = in_process
    if engine == "ray":
        run = ray_cluster(jobs, ray_address)
    elif jobs > 1:
        run = local_processes(jobs)
    store = Store(output.with_name(f"{output.name}.points"))
    start, finished = time.perf_counter(), list[str]()
    with counting("estimating", len(points)) as advance:

        def done(key: str) -> None:
            finished.append(key)
            advance()

        rows = run_sweep(points, store, evaluate, run, done, shares_of(points, None if ray_address else jobs))
    hours = (time.perf_counter() - start) / SECONDS_PER_HOUR
    write_table(output, rows)
    if plot is not None:
        plot_pareto(plot, rows)
    rows = [{**row, "pareto": best} for row, best in zip(rows, pareto_front(rows), strict=True)]
    if as_json:
        click.echo(versioned_json(SCHEMA, SCHEMA_VERSION, {"assumed": True, "rows": rows}), nl=False)
        return
    failed = sum(bool(row["error_code"]) for row in rows)
    click.echo(f"{len(rows)} points, {failed} failed, {len(finished)} estimated now, wrote {output}")
    if finished:
        click.echo(
            f"{len(finished) / hours:,.0f} points an hour with {jobs} jobs of {os.cpu_count()} processors"
        )
    targets = ", ".join(dict.fromkeys(str(row["target"]) for row in rows))
    click.echo(f"Costs rest on the assumed values of the targets: {targets}.")
