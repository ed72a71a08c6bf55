"""The tables of docs/accuracy.md and docs/comparison.md, from data and from what the code computes now."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import onnx

import flexc
from flexc.analysis.comparison.machines import FlexBlockMachine
from flexc.analysis.comparison.model_cost import model_cost
from flexc.analysis.comparison.models import load_compared_model
from flexc.api import TrainingOptions
from flexc.options import BatchNorm
from flexc.target import load_target
from models.make_mobilenet import make_mobilenet_v2
from models.make_resnet import make_resnet
from models.make_transformer import make_transformer
from tests.peer_data import scalesim_layers
from tests.peer_zigzag import zigzag_layers

SIMULATED: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "ResNet-18, CIFAR size, batch 8": partial(make_resnet, "resnet18", size=32, classes=10, batch=8),
    "MobileNetV2, CIFAR size, batch 4": partial(make_mobilenet_v2, size=32, classes=10, batch=4),
    "Transformer base, batch 2": partial(make_transformer, batch=2),
}
WITH_NORMS = ("ResNet-18, CIFAR size, batch 8", "MobileNetV2, CIFAR size, batch 4")
"""Those of them that have batch norms."""


def replaced(document: str, name: str, lines: list[str]) -> str:
    """``document`` with ``lines`` between ``<!-- name -->`` and the next ``<!-- end -->``."""
    start, end = f"<!-- {name} -->\n", "\n<!-- end -->"
    head, _, tail = document.partition(start)
    assert tail, f"the document has no table called {name}"
    return head + start + "\n".join(lines) + end + tail.split(end, 1)[1]


def scalesim_table() -> list[str]:
    """SCALE-Sim's cycles and ours, layer by layer."""
    rows = ["| layer | SCALE-Sim | flexc | difference |", "|---|---:|---:|---:|"]
    for layer in scalesim_layers():
        ours = layer.our_cycles - 1
        rows.append(f"| {layer.name} | {layer.total_cycles:,} | {ours:,} | {ours - layer.total_cycles:+,} |")
    return rows


def zigzag_table() -> list[str]:
    """ZigZag's cycles and energy and ours, layer by layer, and what explains the gaps."""
    rows = [
        "| layer | ZigZag, cycles | flexc | gap | of it skew | folding | transfers | energy, flexc / ZigZag "
        "| without DRAM |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    layers = zigzag_layers()
    for layer in layers:
        gap = layer.our_cycles - layer.cycles
        rest = gap - layer.skew_cycles - layer.window_cycles
        energy = layer.our_energy_pj / layer.energy_pj
        on_chip = (layer.our_energy_pj - layer.our_dram_pj) / (layer.energy_pj - layer.dram_pj)
        rows.append(
            f"| {layer.name} | {layer.cycles:,} | {layer.our_cycles:,} | {gap / layer.cycles:+.1%} "
            f"| {layer.skew_cycles:+,} | {layer.window_cycles:+,} | {rest:+,} "
            f"| {energy:.2f} | {on_chip:.2f} |"
        )
    for words, some in (("all layers", layers), ("all but conv1", layers[1:])):
        theirs, ours = sum(one.cycles for one in some), sum(one.our_cycles for one in some)
        energy = sum(one.our_energy_pj for one in some) / sum(one.energy_pj for one in some)
        rows.append(f"| {words} | {theirs:,} | {ours:,} | {ours / theirs - 1:+.1%} | | | | {energy:.2f} | |")
    return rows


def simulation_table() -> list[str]:
    """The comparison's closed form against the timing simulation of the stream, FB12, LightNorm."""
    steps = [(name, train) for name in SIMULATED for train in (False, True)]
    return _against_simulation(steps, BatchNorm.LIGHTNORM)


def fp32_norms_table() -> list[str]:
    """The same of training steps with batch norms in fp32, which the two take in different ways."""
    return _against_simulation([(name, True) for name in WITH_NORMS], BatchNorm.FP32)


def _against_simulation(steps: Sequence[tuple[str, bool]], batchnorm: BatchNorm) -> list[str]:
    rows = ["| model | | MACs | bytes | instructions | cycles |", "|---|---|---:|---:|---:|---:|"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        for name, train in steps:
            onnx.save(SIMULATED[name](), path)
            rows.append(_ratios(name, path, train, batchnorm))
    return rows


def _ratios(name: str, path: Path, train: bool, batchnorm: BatchNorm) -> str:
    options = TrainingOptions() if train else None
    schedule = flexc.compile(path, policy="FB12", training=options, batchnorm=batchnorm).schedule
    workload = load_compared_model(path, train=train, batch=None).workload("FB12", batchnorm)
    found = model_cost(workload, FlexBlockMachine(load_target("flexblock"))).total
    moved = schedule.read_bytes + schedule.written_bytes
    figures = (
        workload.macs / schedule.macs,
        found.dram_bytes / moved,
        found.instructions / schedule.instructions,
        found.cycles / schedule.cycles,
    )
    step = "training step" if train else "inference"
    return f"| {name} | {step} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |"
