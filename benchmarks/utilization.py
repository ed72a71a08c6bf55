"""How busy the multipliers are: kinds of layers, passes and precisions, each contraction on its own.

python -m benchmarks.utilization [--target flexblock]

A cell reads ``spatial / end to end``: multipliers at work in the cycles of the cores, and in all cycles,
loads and stores included. In brackets what the roofline allows end to end (the share of the peak rate
at which the DRAM moves the contraction's bytes), and what loses most where end to end is below 80 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import click

from flexc.cost.clock import Estimate, estimate
from flexc.mapping.gradients import OperandGroups, local_grad_problems, weight_grad_problem
from flexc.mapping.problem import ContractionProblem, Pass
from flexc.mapping.search import search
from flexc.target import Target, load_target

MODES = {"FB12": (4, 216), "FB16": (8, 108), "FB24": (16, 54)}
"""Mantissa bits and elements of a group, of both operands."""
PASSES: tuple[Pass, ...] = ("forward", "local_grad", "weight_grad")
BATCH = 64
ENOUGH = 0.8
"""End-to-end utilization from which on no limit is named."""


@dataclass(frozen=True)
class Layer:
    """A convolution of square images, or (``kernel`` 0) a matrix product of ``size`` rows."""

    inputs: int
    outputs: int
    size: int
    kernel: int
    stride: int = 1
    depthwise: bool = False
    heads: int = 1

    def forward(self, bits: int, group: int) -> ContractionProblem:
        """The forward pass at batch ``BATCH`` with both operands of ``bits`` in groups of ``group``."""
        length = min(group, self.inputs)
        if not self.kernel:
            extents = (self.heads, 1, self.size, 1, self.outputs, self.inputs, 1, 1)
            return ContractionProblem("matmul", extents, bits, bits, length, length)
        pad = self.kernel // 2
        out = (self.size + 2 * pad - self.kernel) // self.stride + 1
        groups = self.inputs if self.depthwise else 1
        window = (self.kernel, self.kernel)
        return ContractionProblem(
            "depthwise" if self.depthwise else "conv",
            (groups, BATCH, out, out, self.outputs // groups, self.inputs // groups, *window),
            bits,
            bits,
            length,
            self.kernel**2 if self.depthwise else length,
            a_group_dim="g" if self.depthwise else "k",
            b_group_dim="window" if self.depthwise else "k",
            stride=(self.stride, self.stride),
            input_extents=(self.size, self.size),
            pads=(pad,) * 4,
        )

    def problems(self, pass_: Pass, bits: int, group: int) -> tuple[ContractionProblem, ...]:
        """The contractions of one pass: several only for the phases of a strided local gradient."""
        forward = self.forward(bits, group)
        if pass_ == "forward":
            return (forward,)
        if pass_ == "local_grad":
            along = OperandGroups(bits, min(group, self.outputs))
            return local_grad_problems(forward, along, along)
        reduced = BATCH if self.kernel else self.size
        along = OperandGroups(bits, min(group, reduced))
        return (weight_grad_problem(forward, along, along),)


LAYERS = {
    "7x7/2, 3 to 64 at 224": Layer(3, 64, 224, 7, stride=2),
    "3x3, 64 to 64 at 56": Layer(64, 64, 56, 3),
    "3x3, 512 to 512 at 7": Layer(512, 512, 7, 3),
    "3x3/2, 128 to 256 at 28": Layer(128, 256, 28, 3, stride=2),
    "1x1, 256 to 64 at 56": Layer(256, 64, 56, 1),
    "1x1, 512 to 2048 at 7": Layer(512, 2048, 7, 1),
    "depthwise 3x3, 144 at 56": Layer(144, 144, 56, 3, depthwise=True),
    "depthwise 3x3/2, 576 at 14": Layer(576, 576, 14, 3, stride=2, depthwise=True),
    "linear, 512 to 1000": Layer(512, 1000, BATCH, 0),
    "linear, 25088 to 4096": Layer(25088, 4096, BATCH, 0),
    "linear, 512 to 2048, 8192 rows": Layer(512, 2048, 8192, 0),
    "attention scores, 128 x 64 x 128": Layer(64, 128, 128, 0, heads=8 * BATCH),
    "attention values, 128 x 128 x 64": Layer(128, 64, 128, 0, heads=8 * BATCH),
}


@dataclass(frozen=True)
class Busy:
    """Multipliers at work, as shares of all of them."""

    spatial: float
    end_to_end: float
    roof: float
    limit: str

    def __str__(self) -> str:
        limit = "" if self.end_to_end >= ENOUGH else f", {self.limit}"
        return f"{self.spatial:.0%} / {self.end_to_end:.0%} (roof {self.roof:.0%}{limit})"


def busy(problems: tuple[ContractionProblem, ...], target: Target) -> Busy:
    """Utilization of contractions one after the other."""
    found = [estimate(problem, search(problem, target), target) for problem in problems]
    shape = target.pe_shape(problems[0].a_bits, problems[0].b_bits)
    least_cycles = sum(each.macs for each in found) * shape.multipliers_per_mac / target.multipliers
    return Busy(
        least_cycles / sum(each.compute_cycles for each in found),
        least_cycles / sum(each.cycles for each in found),
        min(1.0, least_cycles / sum(_dram_cycles(each, target) for each in found)),
        max(found, key=lambda each: each.cycles).limit,
    )


def table(target: Target, mode: str) -> Iterator[str]:
    """Lines of the table of one precision, in Markdown."""
    bits, group = MODES[mode]
    yield f"| {mode} | forward | local gradient | weight gradient |"
    yield "|---|---|---|---|"
    for name, layer in LAYERS.items():
        cells = (str(busy(layer.problems(pass_, bits, group), target)) for pass_ in PASSES)
        yield f"| {name} | {' | '.join(cells)} |"


def _dram_cycles(found: Estimate, target: Target) -> int:
    """Cycles of the busier DMA engine for bytes that no mapping can save: here those of the chosen one."""
    moved = max(found.a_bytes + found.b_bytes, found.output_bytes)
    return ceil(moved / target.dram_bytes_per_cycle)


@click.command(help=__doc__)
@click.option("--target", default="flexblock", show_default=True)
def main(target: str) -> None:
    machine = load_target(target)
    click.echo(f"{machine.name} (assumed), batch {BATCH}")
    for mode in MODES:
        click.echo()
        for line in table(machine, mode):
            click.echo(line)


if __name__ == "__main__":
    main()
