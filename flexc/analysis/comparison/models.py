"""Models to compare on: an ONNX file, once rebuilt and differentiated, in any policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from flexc.analysis.comparison.extract import workload_of
from flexc.analysis.comparison.workload import Workload
from flexc.importer import load_model
from flexc.ir.program import Graph
from flexc.ir.weight_store import WeightStore
from flexc.options import BatchNorm, CompileOptions, Profile, TrainingOptions
from flexc.passes.expand_dropout import ExpandDropout
from flexc.passes.fold_quantized_weights import FoldQuantizedWeights
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import (
    differentiation_of,
    precision_pipeline,
    rebuilding_pipeline,
    training_pipeline,
)


@dataclass(frozen=True, eq=False)
class ComparedModel:
    """A model before formats are chosen; ``graph`` is a training step if it is trained."""

    name: str
    graph: Graph

    def workload(self, policy: str, batchnorm: BatchNorm, *, everywhere: bool = False) -> Workload:
        """What the model asks for under ``policy``; CompileError as the passes raise it, and FX590."""
        weights = WeightStore()
        for key in self.graph.weights:
            weights.add(key, self.graph.weights.get(key))
        graph = Graph(self.graph.module.clone(), weights, self.graph.file)
        options = CompileOptions(policy=policy, everywhere=everywhere, batchnorm=batchnorm)
        # Weights that are quantized at compile time take no cycles: that they are known is enough.
        passes = (one for one in precision_pipeline(options) if not isinstance(one, FoldQuantizedWeights))
        # Batch norms in fp32 stay whole, but every machine draws masks where it quantizes.
        run_pipeline(graph, (*passes, ExpandDropout()))
        return workload_of(graph)


LoadModel: TypeAlias = Callable[[], ComparedModel]


def load_compared_model(
    path: Path,
    *,
    train: bool,
    batch: int | None,
    weights: bool = True,
    name: str = "",
) -> ComparedModel:
    """The model in an ONNX file, or its training step; without ``weights``, their shapes suffice."""
    graph = load_model(path, batch=batch, training=train, weights=weights)
    training = TrainingOptions()
    options = CompileOptions(profile=Profile.FP32, training=training if train else None)
    passes = training_pipeline(options, differentiation_of(training)) if train else rebuilding_pipeline()
    run_pipeline(graph, passes)
    return ComparedModel(name or path.stem, graph)
