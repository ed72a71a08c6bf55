"""What a run has trained, without its data: the model with the weights of the last checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flexc.artefact import sha256_of
from flexc.diagnostics import CompileError, Place, error
from flexc.ir.program import Graph
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import rebuilding_pipeline
from flexc.training.checkpoint import read_checkpoint
from flexc.training.model import load_forward
from flexc.training.settings import RunRecord
from flexc.training.trained_graph import trained_graph


@dataclass(frozen=True)
class TrainingResult:
    """``graph``: the trained model for a (micro-)batch of ``batch``, behind ``step`` steps.

    ``untrained``: as it was before, for that batch; ``larger``: for one example more, None where the model's
    batch is fixed.
    """

    graph: Graph
    untrained: Graph
    larger: Graph | None
    batch: int
    step: int


def result_of(folder: Path) -> TrainingResult:
    """What the run in ``folder`` has learnt so far.

    Raises CompileError: FX570 where there is no run, FX571 where it has no checkpoint yet or a damaged one,
    FX572 where the model's file has changed since.
    """
    record = RunRecord.read(folder)
    checkpoint = read_checkpoint(folder)
    if checkpoint is None:
        raise error("FX571", "the run has no checkpoint yet", place=Place(str(folder)))
    path = Path(record.settings.model)
    if not path.is_file() or sha256_of(path) != record.model_sha256:
        raise error(
            "FX572",
            "the model's file is gone or has changed since the run began",
            place=Place(str(path)),
        )
    batch = record.rows
    forward = _rebuilt(path, record, batch)
    try:
        larger = _rebuilt(path, record, batch + 1)
    except CompileError:
        # The model took the batch that it was trained with, so this one cannot be had.
        larger = None
    graph = trained_graph(forward, checkpoint.state)
    return TrainingResult(graph, forward, larger, batch, checkpoint.step)


def _rebuilt(path: Path, record: RunRecord, batch: int) -> Graph:
    graph = load_forward(path, {name: (batch, *shape) for name, shape in record.example_shapes.items()})
    run_pipeline(graph, rebuilding_pipeline())
    return graph
