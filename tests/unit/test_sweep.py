"""Sweeps: every point once, whatever dies; errors are rows; the front is what nothing beats."""

from __future__ import annotations

import csv
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from flexc.analysis.comparison.models import ComparedModel
from flexc.analysis.comparison.workload import Workload
from flexc.analysis.sweeping.engines import Engine, Keys, Task, in_process, local_processes, ray_cluster
from flexc.analysis.sweeping.evaluate import evaluate, shared_model, shared_workload, shares_of
from flexc.analysis.sweeping.pareto import OBJECTIVES, pareto_front, plot_pareto
from flexc.analysis.sweeping.point import Point
from flexc.analysis.sweeping.run import run_sweep
from flexc.analysis.sweeping.specification import load_sweep
from flexc.analysis.sweeping.store import COLUMNS, Cost, Result, Store, row
from flexc.analysis.sweeping.table import check_table, write_table
from flexc.cli import main
from flexc.diagnostics import CompileError, error
from flexc.options import BatchNorm
from tests.inspected_model import residual_model
from tests.json_schema import violations

POINTS = [Point("m.onnx", "flexblock", "FB16", batch, False, "lightnorm") for batch in range(1, 7)]


def cost_of(point: Point) -> Cost:
    return Cost(100 * point.batch, 0.5, 3.0 / point.batch, 7, 11, 13.0)


def logging(folder: Path, slow: float = 0.0) -> Callable[[Point], Cost]:
    """An evaluation that leaves a file for each time that a point is begun, named by point and process."""
    folder.mkdir()

    def evaluate(point: Point) -> Cost:
        (folder / f"{point.batch}-{os.getpid()}").touch()
        time.sleep(slow)
        return Cost(100 * point.batch, 0.5, 3.0 / point.batch, 7, 11, 13.0)

    return evaluate


def test_a_second_run_evaluates_nothing(tmp_path: Path) -> None:
    store, told = Store(tmp_path / "store"), list[str]()
    first = run_sweep(POINTS, store, cost_of, in_process, told.append)
    assert [row["cycles"] for row in first] == [100, 200, 300, 400, 500, 600]
    assert told == [point.key() for point in POINTS]

    def never(point: Point) -> Cost:
        raise AssertionError(point)

    assert run_sweep(POINTS, store, never, in_process) == first


def test_points_that_share_are_given_out_together_and_done_ones_are_not(tmp_path: Path) -> None:
    store, given = Store(tmp_path / "store"), list[Keys]()

    def engine(task: Task, shares: Sequence[Keys]) -> Iterator[Keys]:
        given.extend(shares)
        return in_process(task, shares)

    done = POINTS[4]
    run_sweep([done], store, cost_of, engine)
    given.clear()
    rows = run_sweep(POINTS, store, cost_of, engine, shares=lambda point: point.batch % 2)
    odd, even = (tuple(point.key() for point in POINTS[first::2] if point != done) for first in (0, 1))
    assert given == [odd, even]
    assert [row["cycles"] for row in rows] == [100, 200, 300, 400, 500, 600]


def test_points_share_a_workload_on_all_targets_and_baselines_under_all_policies() -> None:
    point = POINTS[0]
    baseline = replace(point, target="bf16-systolic")
    assert shared_workload(point) == shared_workload(replace(point, target="flexblock-edge"))
    assert shared_workload(baseline) == shared_workload(replace(baseline, policy="FB12"))
    others = [
        baseline,
        replace(point, policy="FB12"),
        replace(point, batch=9),
        replace(point, train=True),
        replace(point, batchnorm="fp32"),
        replace(point, model="other.onnx"),
    ]
    assert len({shared_workload(one) for one in (point, *others)}) == 7


@pytest.mark.parametrize(
    ("jobs", "shares"), [(1, shared_model), (2, shared_model), (3, shared_workload), (None, shared_workload)]
)
def test_models_are_shared_where_there_are_enough_for_all_workers(
    jobs: int | None, shares: Callable[[Point], object]
) -> None:
    """Six batches of one model are six training steps."""
    points = [replace(point, policy=policy) for point in POINTS for policy in ("FB12", "FB16")]
    assert shares_of(points, jobs) is shares


def test_a_failed_point_is_a_row(tmp_path: Path) -> None:
    def evaluate(point: Point) -> Cost:
        if point.batch == 2:
            raise error("FX413", "does not fit")
        return cost_of(point)

    rows = run_sweep(POINTS, Store(tmp_path), evaluate, in_process)
    assert [row["error_code"] for row in rows] == ["", "FX413", "", "", "", ""]
    assert rows[1]["cycles"] is None
    assert "does not fit" in str(rows[1]["error"])


def test_a_bug_is_no_row(tmp_path: Path) -> None:
    def evaluate(point: Point) -> Cost:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_sweep(POINTS, Store(tmp_path), evaluate, in_process)


def test_a_damaged_result_is_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = run_sweep(POINTS, store, cost_of, in_process)
    key = POINTS[3].key()
    store.path(key).write_text(store.path(key).read_text()[:-5])
    assert store.get(key) is None
    again = run_sweep(POINTS, store, cost_of, in_process)
    assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in first]


def test_equal_points_are_evaluated_once(tmp_path: Path) -> None:
    evaluate = logging(tmp_path / "log")
    rows = run_sweep([POINTS[0], POINTS[0]], Store(tmp_path / "store"), evaluate, in_process)
    assert len(list((tmp_path / "log").iterdir())) == 1
    assert rows[0] == rows[1]


def test_the_key_follows_contents(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(b"one")
    point = replace(POINTS[0], model=str(model))
    first = point.key()
    model.write_bytes(b"two")
    assert point.key() != first
    keys = {
        point.key(),
        replace(point, policy="FB12").key(),
        replace(point, target="flexblock-edge").key(),
        replace(point, batch=2).key(),
        replace(point, train=True).key(),
        replace(point, batchnorm="fp32").key(),
    }
    assert len(keys) == 6


def kill_one(log: Path) -> None:
    """Kills the process that began a point first."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        begun = sorted(log.iterdir(), key=lambda path: path.stat().st_mtime)
        if begun:
            os.kill(int(begun[0].name.partition("-")[2]), signal.SIGKILL)
            return
        time.sleep(0.05)
    raise AssertionError("no worker began")


@pytest.mark.slow
@pytest.mark.parametrize("engine", [pytest.param("local"), pytest.param("ray", marks=pytest.mark.cluster)])
def test_a_killed_worker_loses_nothing(tmp_path: Path, engine: str) -> None:
    log, store = tmp_path / "log", Store(tmp_path / "store")
    run: Engine = local_processes(2) if engine == "local" else ray_cluster(2, None)
    evaluate = logging(log, slow=1.0)
    killer = threading.Thread(target=kill_one, args=[log])
    killer.start()
    told: list[str] = []
    rows = run_sweep(POINTS, store, evaluate, run, told.append, shares=lambda point: point.batch % 3)
    killer.join()
    assert [row["cycles"] for row in rows] == [100, 200, 300, 400, 500, 600]
    assert sorted(told) == sorted(point.key() for point in POINTS)
    assert len(list(store.folder.iterdir())) == len(POINTS)
    begun = [path.name.partition("-")[0] for path in log.iterdir()]
    assert len(begun) > len(POINTS), "no point was begun twice: nobody was killed"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_hold_every_row(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table.{suffix}"
    check_table(path)
    rows = run_sweep(POINTS, Store(tmp_path / "store"), cost_of, in_process)
    write_table(path, rows)
    if suffix == "csv":
        with path.open(newline="") as file:
            read = list(csv.DictReader(file))
        assert [row["cycles"] for row in read] == [str(row["cycles"]) for row in rows]
        assert list(read[0]) == list(COLUMNS)
        return
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(path).to_pylist() == rows


def test_other_tables_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="FX587"):
        check_table(tmp_path / "table.xlsx")


def test_a_sweep_file_gives_its_points(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(
        'models = ["a.onnx", "b.onnx"]\ntargets = ["flexblock"]\n'
        'policies = ["FB12", "my.toml"]\nbatches = [1, 4]\n'
    )
    points = list(load_sweep(path).points())
    assert len(points) == len(set(points)) == 8
    assert points[0] == Point(str(tmp_path / "a.onnx"), "flexblock", "FB12", 1, False, "lightnorm")
    assert points[-1].policy == str(tmp_path / "my.toml")


def test_all_that_is_wrong_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(
        'models = []\ntargets = ["flexblock", "flexblock"]\nbatches = [0, 1]\n'
        'train = [1]\nbatchnorms = ["x"]\nspeed = 1\n'
    )
    with pytest.raises(CompileError) as failure:
        load_sweep(path)
    text = str(failure.value)
    assert [each.code for each in failure.value.diagnostics] == ["FX586"] * 7
    for word in ("speed", "policies", "models", "targets", "batch", "train", "batchnorms"):
        assert word in text
    with pytest.raises(CompileError, match="FX585"):
        load_sweep(tmp_path / "none.toml")


rows_of_costs = st.lists(st.tuples(*(st.integers(1, 4) for _ in OBJECTIVES)), min_size=1, max_size=12)


@given(rows_of_costs)
def test_the_front_is_what_nothing_beats(costs: list[tuple[int, ...]]) -> None:
    work = {"model": "m", "batch": 1, "train": False}
    rows = [{**work, **dict(zip(OBJECTIVES, each, strict=True))} for each in costs]
    front = pareto_front(rows)
    assert any(front)
    for mine, best in zip(costs, front, strict=True):
        beaten = any(
            other != mine and all(a <= b for a, b in zip(other, mine, strict=True)) for other in costs
        )
        assert best is not beaten


def test_points_of_other_work_do_not_beat(tmp_path: Path) -> None:
    rows = run_sweep(POINTS, Store(tmp_path / "store"), cost_of, in_process)
    failed = Result(POINTS[0], None, "FX413", "does not fit")
    assert all(pareto_front(rows))
    assert failed.cost is None
    assert pareto_front([*rows, row("key", failed)])[-1] is False


def test_the_picture_names_works_targets_and_policies(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = run_sweep(POINTS, Store(tmp_path / "store"), cost_of, in_process)
    failed = row("key", Result(POINTS[0], None, "FX413", "does not fit"))
    alone = {**rows[0], "model": "$last.onnx", "target": "only_there.toml", "policy": "mine.toml"}
    plot_pareto(tmp_path / "front.svg", [failed, *rows, {**alone, "train": True}])
    text = (tmp_path / "front.svg").read_text()
    for name in {str(one["target"]) for one in rows} | {"only_there"}:
        assert f">on {name}<" in text
    assert ">$last, training step, batch " in text
    assert ">mine<" in text
    plot_pareto(tmp_path / "empty.svg", [failed])
    assert "<svg" in (tmp_path / "empty.svg").read_text()


def test_a_workload_is_kept_for_all_targets_until_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    workload = ComparedModel.workload

    def counted(
        self: ComparedModel, policy: str, batchnorm: BatchNorm, *, everywhere: bool = False
    ) -> Workload:
        made.append(policy)
        return workload(self, policy, batchnorm, everywhere=everywhere)

    monkeypatch.setattr(ComparedModel, "workload", counted)
    model, policy = tmp_path / "m.onnx", tmp_path / "mine.toml"
    onnx.save(residual_model(), model)
    policy.write_text('name = "mine"\ndescription = ""\n[default]\nformat = "FB12"\n')
    points = [
        Point(str(model), target, str(policy), 2, False, "lightnorm")
        for target in ("flexblock", "flexblock-edge")
    ]
    narrow, edge = map(evaluate, points)
    assert len(made) == 1
    assert narrow.cycles < edge.cycles
    policy.write_text('name = "mine"\ndescription = ""\n[default]\nformat = "FB24"\n')
    assert evaluate(points[0]).cycles > narrow.cycles
    other = residual_model()
    other.graph.node[0].name = "other"
    onnx.save(other, model)
    evaluate(points[0])
    assert len(made) == 3


def test_a_real_sweep(tmp_path: Path) -> None:
    onnx.save(residual_model(), tmp_path / "m.onnx")
    file = tmp_path / "sweep.toml"
    file.write_text(
        'models = ["m.onnx", "none.onnx"]\ntargets = ["flexblock", "bf16-systolic"]\n'
        'policies = ["FB12", "FB16"]\n'
        "batches = [2]\ntrain = [false, true]\n"
    )
    table = tmp_path / "table.csv"
    arguments = ["sweep", str(file), "-o", str(table), "--plot", str(tmp_path / "front.png"), "--json"]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 0, first.output
    document = json.loads(first.stdout)
    assert violations(document, "sweep.json") == []
    rows = document["rows"]
    assert [row["error_code"] for row in rows] == [""] * 8 + ["FX101"] * 8
    cycles = {(row["target"], row["policy"], row["train"]): row["cycles"] for row in rows[:8]}
    assert cycles["flexblock", "FB12", False] < cycles["flexblock", "FB12", True]
    assert cycles["bf16-systolic", "FB12", True] == cycles["bf16-systolic", "FB16", True]
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(CliRunner().invoke(main, arguments).stdout) == document
    text = CliRunner().invoke(main, arguments[:-1]).stdout
    assert "16 points, 8 failed, 0 estimated now" in text
