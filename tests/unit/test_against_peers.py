"""Cycles and energy of the baselines against what other simulators computed for the same arrays."""

from __future__ import annotations

import pytest

from tests.peer_data import ScaleSimLayer, scalesim_layers


@pytest.mark.parametrize("layer", scalesim_layers(), ids=lambda layer: layer.name)
def test_cycles_of_scalesim(layer: ScaleSimLayer) -> None:
    """Every layer to the cycle; SCALE-Sim names its last cycle, counting from 0."""
    assert layer.our_cycles - 1 == layer.total_cycles


def test_all_layers_are_there() -> None:
    assert len(scalesim_layers()) == 21
