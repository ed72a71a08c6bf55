"""What LightNorm's unit does beside normalizing.

Statistics are those of all cores' boxes together, the rest works on tiles of the whole chip.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.access import Operand, read, write
from flexc.backends.stream.box import Box, CoreRun, Counters
from flexc.backends.stream.decode import DecodedRecord
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import CORE_AXES, Addressing, Rounding
from flexc.backends.stream.memory import Memories
from flexc.backends.stream.simulate_convert import CHANNEL_GROUP, ROUNDING_NAMES, Assembled, Assembly
from flexc.backends.stream.simulate_move import operands_of
from flexc.numerics.errors import NonFiniteError
from flexc.numerics.lightnorm import lightnorm_infer_constants
from flexc.numerics.lightnorm_constants import quantize_gamma
from flexc.numerics.lightnorm_machine import (
    ChunkState,
    lightnorm_chunk_state,
    lightnorm_narrow,
    lightnorm_statistics,
)

_ONE_BLOCK = (False,) * CORE_AXES


class _Whole:
    """A record whose box is the chip's tile, whole groups of channels along ``axis``."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        self.box = Box(record, trips)
        self.operands = operands_of(record, self.box)
        self.axis = int(record["axis"])
        self.rounding = ROUNDING_NAMES[Rounding(int(record["function"]))]
        self._results: dict[tuple[CoreRun, int], CoreRun] = {}

    def inside(self, counters: Counters) -> CoreRun:
        """The part of the box that is inside. Raises StreamFault where there is none, or groups are cut."""
        runs = self.box.inside(counters).runs
        if not runs:
            raise StreamFault("the box has no element inside")
        (run,) = runs
        first = self.box.base(self.axis, counters) + run.low[self.axis]
        end = first + run.count[self.axis]
        if first % CHANNEL_GROUP or (end % CHANNEL_GROUP and end != self.box.limit[self.axis]):
            raise StreamFault(f"coordinates {first} to {end} split a group of {CHANNEL_GROUP}")
        return run

    def read(self, operand: Operand, memories: Memories, run: CoreRun, counters: Counters) -> NDArray[Any]:
        """The elements of a run, one where the operand does not depend on a dimension."""
        values = read(operand, memories, run, counters)
        return values.reshape(values.shape[CORE_AXES:])

    def write(
        self,
        operand: Operand,
        memories: Memories,
        run: CoreRun,
        counters: Counters,
        values: NDArray[Any],
    ) -> None:
        """Writes an array that has one element where the operand does not depend on a dimension."""
        whole = values.reshape((1,) * CORE_AXES + values.shape)
        write(operand, memories, run, counters, whole, _ONE_BLOCK)

    def without(self, run: CoreRun, dims: tuple[int, ...]) -> CoreRun:
        """A run with one element along some dimensions."""
        key = (run, sum(1 << d for d in dims))
        found = self._results.get(key)
        if found is None:
            low = tuple(0 if d in dims else n for d, n in enumerate(run.low))
            count = tuple(1 if d in dims else n for d, n in enumerate(run.count))
            found = self._results[key] = CoreRun(run.first, run.cores, low, count)
        return found


class Statistics(Assembled):
    """Sums, extrema and their positions of chunks; the state's dimensions are the last two of the box."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        super().__init__(record, trips)
        self.state, self.x, self.position = operands_of(record, self.box)
        # Chip addresses and global ones alike are of a slot that is striped over the cores.
        self.state.slot_addressing = Addressing.CHIP
        self.chunk_positions = int(record["immediate_int"])
        self.init_levels = [level for level in range(len(trips)) if int(record["init_loops"]) >> level & 1]
        self._of_state: dict[Assembly, CoreRun] = {}

    def execute(self, memories: Memories, counters: Counters) -> None:
        assembly = self.assembly(counters)
        self.require_whole_groups(assembly, counters, CHANNEL_GROUP)
        x = assembly.gather(self.x, memories, counters, dims=self.axis + 1)
        chunks = self.axis + 1
        first_chunk = self.box.base(chunks, counters) + assembly.low[chunks]
        try:
            found = lightnorm_chunk_state(
                x.reshape(-1, x.shape[-1]),
                self.element_index(self.position, assembly, counters, dims=self.axis).reshape(-1),
                range(first_chunk, first_chunk + assembly.shape[chunks]),
                self.chunk_positions,
                rounding=self.rounding,
            )
        except NonFiniteError as error:
            raise StreamFault(str(error), operand=self.x.name) from error
        except ValueError as error:
            raise StreamFault(str(error), operand=self.position.name) from error
        run = self._run_of_state(assembly)
        if any(counters[level] for level in self.init_levels):
            # Read as [core axes, positions, channels, chunks, rows].
            before = read(self.state, memories, run, counters)
            before = before.reshape(before.shape[CORE_AXES + self.axis :]).swapaxes(0, 1)
            found = state_of(before).joined(found)
        rows = np.stack([found.total, found.largest, found.least, found.argmax, found.argmin], axis=-1)
        values = rows.swapaxes(0, 1).reshape((1,) * (CORE_AXES + self.axis) + assembly.shape[self.axis :])
        write(self.state, memories, run, counters, values, _ONE_BLOCK)

    def _run_of_state(self, assembly: Assembly) -> CoreRun:
        """The channels, chunks and rows of all cores' boxes, as one core would write them."""
        found = self._of_state.get(assembly)
        if found is None:
            before = (0,) * self.axis
            found = self._of_state[assembly] = CoreRun(
                (0,) * CORE_AXES,
                (1,) * CORE_AXES,
                (*before, *assembly.low[self.axis :]),
                (*(1 for _ in before), *assembly.shape[self.axis :]),
            )
        return found


class Summarize(_Whole):
    """Mean, range, scale and gamma of ten bits from the state of all chunks."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        super().__init__(record, trips)
        self.positions = int(record["immediate_int"])
        self.constant, self.eps = record["immediate"]

    def execute(self, memories: Memories, counters: Counters) -> None:
        *results, state, gamma = self.operands
        run = self.inside(counters)
        vector = self.without(run, (0, 2))
        of_chunks = state_of(self.read(state, memories, run, counters))
        try:
            found = lightnorm_statistics(
                of_chunks,
                positions=self.positions,
                constant=np.float32(self.constant),
                eps=float(self.eps),
                rounding=self.rounding,
            )
            values = self.read(gamma, memories, vector, counters)[0, :, 0]
            gamma_q = quantize_gamma(values, self.rounding, "lightnorm_forward")
        except NonFiniteError as error:
            raise StreamFault(str(error)) from error
        for operand, values in zip(results, (*found, gamma_q), strict=True):
            self.write(operand, memories, vector, counters, values.reshape(1, -1, 1))


class Constants(_Whole):
    """Mean, scale and gamma of ten bits from given statistics."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        super().__init__(record, trips)
        self.eps = float(record["immediate"][0])

    def execute(self, memories: Memories, counters: Counters) -> None:
        *results, gamma, mean, variance = self.operands
        run = self.inside(counters)
        vector = self.without(run, tuple(d for d in range(self.box.dims) if d != self.axis))
        given = [self.read(one, memories, vector, counters).reshape(-1) for one in (gamma, mean, variance)]
        try:
            made = lightnorm_infer_constants(*given, eps=self.eps, rounding=self.rounding)
        except NonFiniteError as error:
            raise StreamFault(str(error)) from error
        for operand, values in zip(results, made, strict=True):
            self.write(operand, memories, vector, counters, values.reshape(vector.count))


class Narrow(_Whole):
    """Gradients in ten bits."""

    def execute(self, memories: Memories, counters: Counters) -> None:
        dst, x = self.operands
        run = self.inside(counters)
        values = np.moveaxis(self.read(x, memories, run, counters), self.axis, -1)
        try:
            narrow = lightnorm_narrow(values.reshape(-1, values.shape[-1]), rounding=self.rounding)
        except NonFiniteError as error:
            raise StreamFault(str(error), operand=x.name) from error
        self.write(dst, memories, run, counters, np.moveaxis(narrow.reshape(values.shape), -1, self.axis))


class Extrema(_Whole):
    """A share taken from the maxima of chunks and given to their minima."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        super().__init__(record, trips)
        self.chunk_positions = int(record["immediate_int"])

    def execute(self, memories: Memories, counters: Counters) -> None:
        dst, x, argmax, argmin, share = self.operands
        run = self.inside(counters)
        values = np.broadcast_to(self.read(x, memories, run, counters), run.count)
        positions = positions_of(self.box, run, counters, self.chunk_positions)[..., np.newaxis]
        of_channel = self.read(share, memories, run, counters)
        with np.errstate(all="ignore"):
            at_most = positions == self.read(argmax, memories, run, counters)
            values = np.where(at_most, values - of_channel, values)
            at_least = positions == self.read(argmin, memories, run, counters)
            values = np.where(at_least, values + of_channel, values)
        self.write(dst, memories, run, counters, values)


def positions_of(box: Box, run: CoreRun, counters: Counters, chunk_positions: int) -> NDArray[np.int64]:
    """The positions [chunks, positions of a chunk] of a run, counted over all chunks."""
    chunk, within = (
        np.arange(run.count[d], dtype=np.int64) + box.base(d, counters) + run.low[d] for d in (0, 1)
    )
    return chunk_positions * chunk[:, np.newaxis] + within


def state_of(rows: NDArray[np.int64]) -> ChunkState:
    """The state whose rows are along the last dimension of [chunks, channels, rows]."""
    return ChunkState(*(rows[..., row] for row in range(rows.shape[-1])))
