"""What peers compute, from docs/data/peers, beside what flexc computes for the same array."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from flexc.cost.baselines.weight_stationary import WeightStationaryFolds

PEERS = Path(__file__).parents[1] / "docs" / "data" / "peers"
SCALESIM = PEERS / "scalesim_3.0.0_resnet18_ws_32x32.csv"


@dataclass(frozen=True)
class ScaleSimLayer:
    """A row of SCALE-Sim's report."""

    name: str
    ifmap: tuple[int, int]
    filter: tuple[int, int]
    channels: int
    filters: int
    stride: int
    total_cycles: int

    @property
    def output_pixels(self) -> int:
        """As SCALE-Sim counts them: no padding, and a last partial step of the stride is one."""
        rows, columns = (
            -(-(size - taps + self.stride) // self.stride)
            for size, taps in zip(self.ifmap, self.filter, strict=True)
        )
        return rows * columns

    @property
    def our_cycles(self) -> int:
        """Cycles of all folds on a grid of 32 by 32 that does not load weights behind its rows."""
        grid = WeightStationaryFolds(32, 32, weight_double_buffer=False)
        folds = grid.folds(1, self.filter[0] * self.filter[1] * self.channels, self.filters)
        return int(folds) * (grid.overhead_cycles + self.output_pixels * grid.row_cycles)


def scalesim_layers() -> list[ScaleSimLayer]:
    """ResNet-18, layer by layer."""
    with SCALESIM.open() as file:
        return [
            ScaleSimLayer(
                row["layer"],
                (int(row["ifmap_h"]), int(row["ifmap_w"])),
                (int(row["filter_h"]), int(row["filter_w"])),
                int(row["channels"]),
                int(row["filters"]),
                int(row["stride"]),
                int(row["total_cycles"]),
            )
            for row in csv.DictReader(file)
        ]
