"""Cycles and energy of the baselines against what other simulators computed for the same arrays."""

from __future__ import annotations

import pytest

from tests.peer_data import ScaleSimLayer, scalesim_layers
from tests.peer_zigzag import ZigZagLayer, zigzag_layers


@pytest.mark.parametrize("layer", scalesim_layers(), ids=lambda layer: layer.name)
def test_cycles_of_scalesim(layer: ScaleSimLayer) -> None:
    """Every layer to the cycle; SCALE-Sim names its last cycle, counting from 0."""
    assert layer.our_cycles - 1 == layer.total_cycles


def test_all_layers_are_there() -> None:
    assert len(scalesim_layers()) == 21


def test_cycles_of_zigzag_in_total() -> None:
    """Within 10 % but for the first layer, where ZigZag leaves 29 of 32 rows idle."""
    layers = zigzag_layers()
    assert len(layers) == 21
    first, *others = layers
    assert first.name == "conv1"
    ratio = sum(layer.our_cycles for layer in others) / sum(layer.cycles for layer in others)
    assert 0.9 < ratio < 1.1


def test_energy_of_zigzag_in_total() -> None:
    layers = zigzag_layers()
    assert 0.8 < sum(one.our_energy_pj for one in layers) / sum(one.energy_pj for one in layers) < 1.2


@pytest.mark.parametrize("layer", zigzag_layers(), ids=lambda layer: layer.name)
def test_gaps_to_zigzag_are_explained(layer: ZigZagLayer) -> None:
    """Within 10 %; or skew and folding account for the gap up to transfers of a fourth of the layer."""
    gap = layer.our_cycles - layer.cycles
    rest = gap - layer.skew_cycles - layer.window_cycles
    assert abs(gap) < 0.1 * layer.cycles or abs(rest) < 0.25 * layer.cycles


@pytest.mark.parametrize("layer", zigzag_layers(), ids=lambda layer: layer.name)
def test_energy_beside_dram_is_that_of_zigzag(layer: ZigZagLayer) -> None:
    """Products, registers, SRAM: ZigZag reads idle rows (conv1) and partial sums (fc, layer4.0) besides."""
    ours, theirs = layer.our_energy_pj - layer.our_dram_pj, layer.energy_pj - layer.dram_pj
    assert (0.65 if layer.name in ("conv1", "fc", "layer4.0/conv1") else 0.94) < ours / theirs < 1.02
