"""Tile programs on engines that run side by side: a closed form of when each engine is done.

A tile program loads operands, works on each tile with one engine after another, and stores it. What a tile
waits for is (docs/hardware.md, section 6): its engine, which takes programs and tiles in order; its own tile
on the engine before; and a buffer, two of which a tile's operands, its results and its staged results have.
Tiles are taken as equally large. So times of the engines follow from those of the tile before last, for the
first few tiles; behind them every tile takes as long as the last of those.

Programs follow one another with nothing but these rules between them: the loads of the next one start as soon
as the loading engine has done those before, the operand buffers have been read, and what they read from DRAM
has been stored as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

EngineName: TypeAlias = Literal["dma_in", "cores", "lightnorm", "vector", "converter", "dma_out"]

TILES_FOLLOWED = 8
"""Tiles whose times are followed one by one."""
TILES_OF_PERIOD = 4
"""The last of these, which all further tiles are like."""
MOST_STEPS = 8
"""Steps of a tile that are told apart; more are taken together."""


@dataclass(frozen=True)
class FirstLoad:
    """Loads that the first tile needs: cycles, and the group that stores what they read (None: no one).

    ``place`` is that of the value among what the group stores. ``for_results``: stage 0 does not wait for it.
    """

    cycles: int
    stored_by: int | None = None
    place: int = 0
    for_results: bool = False


@dataclass(frozen=True)
class Part:
    """The part of a tile's work that is left to a stage once part of the work before is ``done``."""

    done: float
    left: float


ALL = (Part(1.0, 1.0),)
"""Nothing is done before all of the work before is."""


@dataclass(frozen=True)
class Stage:
    """Work of one engine on every tile, in cycles of all tiles, and what of it waits for the stage before."""

    engine: EngineName
    cycles: int
    parts: tuple[Part, ...] = ALL


@dataclass(frozen=True)
class Step:
    """A step of a tile in the first stage: its shares of the tile's loads and of the stage's work."""

    load: float
    work: float


@dataclass(frozen=True)
class TileProgram:
    """What a tile program asks of the engines.

    ``first_loads`` are in their order; ``load_cycles`` are those of all loads, the first ones included.
    ``stages`` follow the loads, the last one usually storing. Operand buffers are free again after stage
    ``operands_until``, those of the results that stage 0 makes after stage ``results_until``. A tile may be
    made in several ``steps``, each with operands of its own, in stage 0. ``stored`` gives for the
    place of a value the share of a tile's stores that is done with it; others are stored with the last.
    """

    tiles: int
    first_loads: tuple[FirstLoad, ...]
    load_cycles: int
    stages: tuple[Stage, ...]
    operands_until: int
    results_until: int
    steps: tuple[Step, ...] = (Step(1.0, 1.0),)
    stored: tuple[tuple[int, float], ...] = ()
    instructions: int = 0
    """Instructions that the engines execute."""


def even_steps(count: int) -> tuple[Step, ...]:
    """``count`` steps alike."""
    return (Step(1 / count, 1 / count),) * count


@dataclass
class EngineClock:
    """When each engine, and each kind of buffer, is free after the programs so far; cycles."""

    free: dict[EngineName, float] = field(default_factory=dict)
    operands_free: float = 0.0
    results_free: float = 0.0
    stored: dict[int, float] = field(default_factory=dict)
    """When all that a group stores was stored, by its number."""
    placed: dict[tuple[int, int], float] = field(default_factory=dict)
    """When a value was stored, by the group's number and its place, where it was before the group's last."""

    @property
    def cycles(self) -> float:
        """When the last engine is done."""
        return max(self.free.values(), default=0.0)

    def run(self, programs: Iterable[TileProgram], number: int) -> None:
        """Add the programs of a group, whose ``number`` others may name in :class:`FirstLoad`."""
        for program in programs:
            self._run(program)
            end, tile_store = self.free.get("dma_out", 0.0), program.stages[-1].cycles / program.tiles
            self.stored[number] = end
            for place, share in program.stored:
                self.placed[number, place] = end - (1 - share) * tile_store

    def _run(self, program: TileProgram) -> None:
        tiles = _Tiles(program, self)
        followed = min(program.tiles, TILES_FOLLOWED)
        for _ in range(followed):
            tiles.follow()
        tiles.repeat(program.tiles - followed)
        if program.load_cycles:
            self.free["dma_in"] = tiles.load_end
        last = tiles.ends[-1]
        for stage, end in zip(program.stages, last, strict=True):
            self.free[stage.engine] = end
        self.operands_free = last[program.operands_until]
        self.results_free = max(last[program.results_until :])


class _Tiles:
    """The tiles of one program, followed one after the other."""

    def __init__(self, program: TileProgram, clock: EngineClock) -> None:
        self.program = program
        self.clock = clock
        first = sum(load.cycles for load in program.first_loads)
        # Loads but the first ones: as much for each tile, less the first step for the first tile.
        shares = program.tiles - program.steps[0].load
        self.tile_load = (program.load_cycles - first) / shares if shares else 0.0
        self.first_load = float(first)
        self.work = [stage.cycles / program.tiles for stage in program.stages]
        self.load_end = clock.free.get("dma_in", 0.0)
        self.first_end = self.operands_end = 0.0
        """When all of the first loads were done, and those that stage 0 needs."""
        self.operands_read = [clock.operands_free, clock.operands_free]
        """When the steps before the last, and last, were done with their operands."""
        self.ends = [[clock.free.get(stage.engine, 0.0) for stage in program.stages]]
        """When each stage ended a tile, from before the first tile on."""

    def follow(self) -> None:
        """The next tile."""
        tile = len(self.ends) - 1
        before = self.ends[-1]
        ends = [self._first_stage(tile)]
        for index in range(1, len(self.work)):
            work, above = self.work[index], self.work[index - 1]
            start = before[index]
            if index == 1:
                start = max(start, self.first_end)
            if index + 2 == len(self.work):
                start = max(start, self._released(tile, index + 1))
            end = start + work
            for part in self.program.stages[index].parts:
                end = max(end, ends[-1] - (1 - part.done) * above + part.left * work)
            ends.append(end)
        self.ends.append(ends)
        if self.program.operands_until:
            self.operands_read = [self.operands_read[1], ends[self.program.operands_until]]

    def _first_stage(self, tile: int) -> float:
        """When stage 0 has done the tile, step by step as operands come in."""
        end = max(self.ends[-1][0], self._released(tile, self.program.results_until))
        for number, step in enumerate(self.program.steps):
            if tile or number:
                loads = step.load * self.tile_load
                self._load(loads)
                arrived = self.load_end
            else:
                loads = self.first_load
                self._load_first()
                arrived = self.operands_end
            work = step.work * self.work[0]
            end += work
            for part in self.program.stages[0].parts:
                end = max(end, arrived - (1 - part.done) * loads + part.left * work)
            if not self.program.operands_until:
                self.operands_read = [self.operands_read[1], end]
        return end

    def _load(self, cycles: float) -> None:
        """Loads the operands of a step, once those of the step before last have been read."""
        if cycles:
            self.load_end = max(self.load_end, self.operands_read[0]) + cycles

    def _load_first(self) -> None:
        """Loads what the first step needs, once it has been stored."""
        at = max(self.load_end, self.operands_read[0])
        for load in self.program.first_loads:
            if load.stored_by is not None:
                all_stored = self.clock.stored.get(load.stored_by, 0.0)
                at = max(at, self.clock.placed.get((load.stored_by, load.place), all_stored))
            at += load.cycles
            if not load.for_results:
                self.operands_end = at
        self.load_end = self.first_end = at

    def repeat(self, tiles: int) -> None:
        """``tiles`` more, each as long as those followed last."""
        if not tiles:
            return
        last, earlier = self.ends[-1], self.ends[-1 - TILES_OF_PERIOD]
        periods = [(end - start) / TILES_OF_PERIOD for end, start in zip(last, earlier, strict=True)]
        self.load_end += tiles * periods[self.program.operands_until]
        self.ends.append([end + tiles * period for end, period in zip(last, periods, strict=True)])

    def _released(self, tile: int, stage: int) -> float:
        """When the buffer that a tile takes is free: what was there two tiles ago is done with ``stage``."""
        return self.ends[tile - 1][stage] if tile >= 2 else self.clock.results_free
