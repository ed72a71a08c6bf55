"""ZigZag's figures for ResNet-18 on its 32 x 32 array, beside ours for an array and memories like those.

ZigZag's memories: 128 bytes of weights a cell, 2 MiB for inputs and results, DRAM of 64 bits a cycle; results
of 8 bits. Energies of its accelerator file: 0.04 pJ a product, 0.095 pJ to read a weight in a cell, 0.021 pJ
for a sum each way, 416.16 and 378.4 pJ to read and write 2048 bits of SRAM, 700 and 750 pJ for 64 bits of
DRAM. Its search maps channels alone to the rows of the array.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from math import ceil

from flexc.cost.baselines.contraction import BaselineEstimate, baseline_estimate, in_format
from flexc.cost.baselines.folds import fold_model
from flexc.mapping.problem import ContractionProblem
from flexc.target import load_target
from flexc.target.baseline import Baseline, Numerics, WeightStationary
from tests.peer_data import PEERS

ZIGZAG = PEERS / "zigzag_3.9.1_resnet18_tpu_like.csv"
SIDE = 32
DRAM_BYTES_PER_CYCLE = 8
KIB = 1024
ARRAY = Baseline(
    "tpu_like",
    "ZigZag's array",
    Numerics("int", 8, 8, 8, 8, 0, 8),
    WeightStationary(SIDE, SIDE, weight_double_buffer=True),
)
# Half of each buffer holds a tile while the other half is filled, and the held one keeps 2 KiB of parameters.
MEMORIES = replace(
    load_target("flexblock"),
    cores=1,
    operand_buffer_bytes=2048 * KIB,
    held_buffer_bytes=SIDE * SIDE * 128 + 2 * KIB,
    psum_buffer_bytes=2048 * KIB,
    dram_bytes_per_second=DRAM_BYTES_PER_CYCLE * 500e6,
    dram_latency_cycles=0,
)


@dataclass(frozen=True)
class ZigZagLayer:
    """A layer: its problem, ZigZag's cycles and energy, and ours."""

    name: str
    problem: ContractionProblem
    cycles: int
    energy_pj: float
    dram_pj: float
    """The part of it that goes to DRAM."""

    @property
    def estimate(self) -> BaselineEstimate:
        """Ours, in 8 bits."""
        return baseline_estimate(in_format(self.problem, ARRAY.numerics), ARRAY, MEMORIES)

    @property
    def our_cycles(self) -> int:
        """First load, all folds, last store; or all transfers, by one port, where these take longer."""
        return max(self._array_cycles, self._transfer_cycles)

    @property
    def _array_cycles(self) -> int:
        found = self.estimate
        store = self.problem.outputs / DRAM_BYTES_PER_CYCLE
        return ceil(found.operands.first_cycles + found.compute_cycles + store / found.operands.tiles)

    @property
    def _transfer_cycles(self) -> int:
        found = self.estimate
        return ceil(
            (found.operands.a_bytes + found.operands.b_bytes + self.problem.outputs) / DRAM_BYTES_PER_CYCLE
        )

    @property
    def skew_cycles(self) -> int:
        """Filling and draining the array once a fold, which ZigZag leaves out."""
        return self.estimate.folds * fold_model(ARRAY.array, 1).overhead_cycles

    @property
    def window_cycles(self) -> int:
        """Folding the window into the rows, beside channels, saves some; partial folds of tiles cost some."""
        _, _, p, q, o, k, r, s = self.problem.extents
        channels_alone = ceil(k / SIDE) * r * s * ceil(o / SIDE) * p * q
        return self.estimate.streamed_rows - channels_alone

    @property
    def our_energy_pj(self) -> float:
        """Our counts at ZigZag's energies."""
        found, problem = self.estimate, self.problem
        reduced = problem.extent("k") * problem.extent("r") * problem.extent("s")
        read_bits = 8 * found.streamed_rows * min(SIDE, reduced)
        rows, columns = problem.input_extents
        input_bits = 8 * rows * columns * problem.extent("k")
        return (
            problem.macs * (0.04 + 0.095 + 2 * 0.021)
            + read_bits * 416.16 / 2048
            + input_bits * 378.4 / 2048
            + self.our_dram_pj
        )

    @property
    def our_dram_pj(self) -> float:
        """Both operands read, results written."""
        found = self.estimate
        return (
            found.operands.a_bytes + found.operands.b_bytes
        ) * 8 / 64 * 700 + self.problem.outputs * 8 / 64 * 750


def zigzag_layers() -> list[ZigZagLayer]:
    """ResNet-18, layer by layer."""
    with ZIGZAG.open() as file:
        return [_layer(row) for row in csv.DictReader(file)]


def _layer(row: dict[str, str]) -> ZigZagLayer:
    sizes = ("outputs", "channels", "rows", "columns", "filter_rows", "filter_columns", "stride")
    o, k, p, q, r, s, stride = (int(row[key]) for key in sizes)
    problem = ContractionProblem(
        "conv",
        (1, 1, p, q, o, k, r, s),
        8,
        8,
        a_group=1,
        b_group=1,
        stride=(stride, stride),
        input_extents=(p * stride, q * stride),
        pads=(r // 2, s // 2, r // 2, s // 2),
    )
    cycles = sum(int(row[f"{part}_cycles"]) for part in ("onloading", "computation", "offloading"))
    energy_pj = sum(float(row[f"{part}_pj"]) for part in ("mac", "register", "sram", "dram"))
    name = row["layer"].removesuffix("/Conv").removesuffix("/Gemm").split("/", 1)[-1]
    return ZigZagLayer(name, problem, cycles, energy_pj, float(row["dram_pj"]))
