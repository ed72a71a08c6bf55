"""Gradients of pools: each tap of all windows adds to the elements that it lies on, the last tap first.

The later a tap reaches an element, the earlier its window starts: an element meets its windows in row-major
order.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from math import inf

from xdsl.ir import SSAValue

from flexc.backends.stream.emit_program import Frame, Program
from flexc.backends.stream.isa import Addressing, Format
from flexc.backends.stream.record_builder import Dim, Operand
from flexc.ir import nn
from flexc.ir.placement import Plane
from flexc.passes.scheduling.pool_grad_plan import PoolGradPlan
from flexc.passes.scheduling.tile_boxes import Tile


def emit_pool_grad(program: Program, plan: PoolGradPlan) -> None:
    """The records of a pool's gradient; its DRAM slots are declared already."""
    _Emission(program, plan).emit()


class _Emission:
    def __init__(self, program: Program, plan: PoolGradPlan) -> None:
        self.program = program
        self.plan = plan
        self.frame = Frame({dim: level for level, (dim, _) in enumerate(plan.loops)})
        self.registers = {name: program.declare(slot) for name, (_, slot) in plan.held.items()}
        self.pooled = [self.frame.dim(axis) for axis in self._tile("g").axes]

    def emit(self) -> None:
        """Loads, the winners or shares of windows, the taps, the store."""
        op, program = self.plan.op, self.program
        if isinstance(op, nn.AveragePoolGradOp):
            self._load("counts", program.tables[op].planes[0])
        with ExitStack() as loops:
            for _, count in self.plan.loops:
                loops.enter_context(program.loop(count))
            if self.plan.loops:
                for name in self.registers:
                    if name != "counts":
                        program.next(self.registers[name])
            self._load("g", self._plane(op.g))
            self._clear()
            if isinstance(op, nn.MaxPoolGradOp):
                self._load("x", self._plane(op.x), fill=-inf)
                self._find_winners()
            else:
                counts = replace(self._at("counts"), stride=(0, *self._tile("counts").pitches, 0))
                program.vector("div", self.pooled, (self._at("g"), self._at("g"), counts))
            for number, tap in reversed(list(enumerate(self.plan.windows.taps()))):
                self._add_tap(number, tap)
            self._store()

    def _find_winners(self) -> None:
        kernel = self.plan.windows.kernel
        x = self._in_windows("x", (0,) * len(kernel))
        steps = zip(self.plan.windows.dilation, self._spatial("x"), strict=True)
        x = replace(x, stride=(*x.stride, *(dilation * pitch for dilation, pitch in steps)))
        winner = self._at("winner")
        winner = replace(winner, stride=(*winner.stride, *(0 for _ in kernel)))
        dims = [*self.pooled, *(Dim(extent, limit=extent) for extent in kernel)]
        self.program.vector("window_argmax", dims, (winner, x), reduced_dims=len(kernel))

    def _add_tap(self, number: int, tap: Sequence[int]) -> None:
        place = self._in_windows("dx", tap)
        if isinstance(self.plan.op, nn.MaxPoolGradOp):
            operands = (place, place, self._at("winner"), self._at("g"))
            self.program.vector("add_from_tap", self.pooled, operands, immediates=(float(number),))
        else:
            self.program.vector("add", self.pooled, (place, place, self._at("g")))

    def _clear(self) -> None:
        """Fills dx with zeros: a load of which nothing is inside."""
        tile, plane = self._tile("dx"), self._plane(self.plan.op.out)
        image, *rest = (self.frame.dim(axis) for axis in tile.axes)
        nothing = Dim(image.count, start=-image.count, limit=1)
        src = self.program.dram(plane, (axis.stride_bits for axis in tile.axes))
        self.program.load([nothing, *rest], self._at("dx"), src)

    def _store(self) -> None:
        """The elements of the tensor itself, without the padding around them."""
        windows, tile, plane = self.plan.windows, self._tile("dx"), self._plane(self.plan.op.out)
        dims = [self.frame.dim(axis) for axis in tile.axes]
        for dim, size in enumerate(windows.size):
            dims[1 + dim] = Dim(size, limit=size)
        pads = zip(windows.pads, self._spatial("dx"), strict=False)
        inside = replace(self._at("dx"), offset=sum(pad * pitch for pad, pitch in pads))
        self.program.store(dims, self.program.dram(plane, (axis.stride_bits for axis in tile.axes)), inside)

    def _in_windows(self, name: str, tap: Sequence[int]) -> Operand:
        """The padded tile at one tap of every window."""
        windows, pitches = self.plan.windows, self._tile(name).pitches
        spatial = self._spatial(name)
        strides = [step * pitch for step, pitch in zip(windows.stride, spatial, strict=True)]
        steps = zip(tap, windows.dilation, spatial, strict=True)
        return replace(
            self._at(name),
            stride=(pitches[0], *strides, pitches[-1]),
            offset=sum(index * dilation * pitch for index, dilation, pitch in steps),
        )

    def _load(self, name: str, plane: Plane, *, fill: float = 0.0) -> None:
        axes = self._tile(name).axes
        src = self.program.dram(plane, (axis.stride_bits for axis in axes))
        self.program.load([self.frame.dim(axis) for axis in axes], self._at(name), src, fill=fill)

    def _at(self, name: str) -> Operand:
        return Operand(self.registers[name], Format.F32, Addressing.CHIP, self._tile(name).pitches)

    def _tile(self, name: str) -> Tile:
        return self.plan.held[name][0]

    def _spatial(self, name: str) -> tuple[int, ...]:
        return self._tile(name).pitches[1:-1]

    def _plane(self, value: SSAValue) -> Plane:
        (plane,) = self.program.placements[value].planes
        return plane
