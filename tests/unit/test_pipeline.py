"""Tile programs on engines side by side: by hand, and against a slow simulation of every tile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexc.cost.pipeline import EngineClock, FirstLoad, Part, Stage, Step, TileProgram, even_steps


def program(
    tiles: int, load: int, *stages: tuple[str, int], first: FirstLoad | None = None, **changes: object
) -> TileProgram:
    """Cycles a tile of the loads and of each stage; results are held until the last one."""
    made = TileProgram(
        tiles,
        (first or FirstLoad(load),),
        load * tiles,
        tuple(Stage(engine, cycles * tiles) for engine, cycles in stages),  # type: ignore[arg-type]
        operands_until=0,
        results_until=len(stages) - 1,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def cycles(*programs: TileProgram) -> float:
    """Programs of groups 0, 1, ... together."""
    clock = EngineClock()
    for number, one in enumerate(programs):
        clock.run((one,), number)
    return clock.cycles


def walked(one: TileProgram) -> float:
    """Every tile of a program of one step, record by record, with rings of two buffers."""
    stages = [stage.cycles / one.tiles for stage in one.stages]
    load = one.load_cycles / one.tiles
    loaded, ends = 0.0, [[0.0] * len(stages)]
    for tile in range(one.tiles):
        operands = ends[tile - 1][one.operands_until] if tile >= 2 else 0.0
        loaded = max(loaded, operands) + load
        now: list[float] = []
        for index, work in enumerate(stages):
            start = max(ends[-1][index], loaded if index == 0 else now[-1])
            if tile >= 2 and index == 0:
                start = max(start, ends[tile - 1][one.results_until])
            if tile >= 2 and index == len(stages) - 2:
                start = max(start, ends[tile - 1][index + 1])
            now.append(start + work)
        ends.append(now)
    return max(ends[-1])


@settings(deadline=None)
@given(st.integers(1, 60), st.lists(st.integers(1, 50), min_size=3, max_size=3))
def test_many_tiles_take_what_a_walk_takes(tiles: int, costs: list[int]) -> None:
    load, compute, store = costs
    one = program(tiles, load, ("cores", compute), ("dma_out", store))
    assert cycles(one) == pytest.approx(walked(one), rel=0.01)


@settings(deadline=None)
@given(st.integers(1, 60), st.lists(st.integers(1, 50), min_size=5, max_size=5))
def test_long_chains_are_bounded_by_their_buffers(tiles: int, costs: list[int]) -> None:
    load, *works = costs
    engines = ("cores", "vector", "converter", "dma_out")
    one = program(tiles, load, *zip(engines, works, strict=True), results_until=2)
    assert cycles(one) == pytest.approx(walked(one), rel=0.04)


def test_the_slowest_engine_decides_and_the_others_add_one_tile() -> None:
    assert cycles(program(100, 10, ("cores", 50), ("dma_out", 20))) == 10 + 100 * 50 + 20
    assert cycles(program(100, 50, ("cores", 10), ("dma_out", 20))) == 100 * 50 + 10 + 20
    assert cycles(program(100, 10, ("cores", 20), ("dma_out", 50))) == 10 + 20 + 100 * 50


def test_two_buffers_of_results_bound_what_no_engine_does() -> None:
    """Each of three engines takes 10; a result lies in one of two buffers for 30."""
    engines = (("cores", 10), ("vector", 10), ("converter", 10), ("dma_out", 1))
    assert cycles(program(101, 1, *engines, results_until=2)) == pytest.approx(1 + 31 + 100 * 15, abs=10)


def test_the_next_program_is_loaded_while_the_last_one_is_stored() -> None:
    one = program(1, 100, ("cores", 10), ("dma_out", 200))
    assert cycles(one) == 310
    # Its operands have been read at 110; there is room for its results at 310.
    assert cycles(one, one) == 310 + 10 + 200
    assert cycles(one, program(1, 300, ("cores", 10), ("dma_out", 0))) == 110 + 300 + 10


def test_a_load_waits_for_what_it_reads() -> None:
    one = program(1, 100, ("cores", 10), ("dma_out", 200), stored=((0, 0.25), (1, 1.0)))
    reader = program(1, 40, ("cores", 10), ("dma_out", 5))
    for place, start in ((0, 160), (1, 310)):
        waiting = replace(reader, first_loads=(FirstLoad(40, stored_by=0, place=place),))
        assert cycles(one, waiting) == max(310, start + 40) + 10 + 5
    # What does not wait is loaded before, where it comes first.
    early = replace(reader, first_loads=(FirstLoad(30), FirstLoad(10, stored_by=0, place=1)))
    late = replace(reader, first_loads=(FirstLoad(10, stored_by=0, place=1), FirstLoad(30)))
    assert (cycles(one, early), cycles(one, late)) == (310 + 10 + 10 + 5, 310 + 40 + 10 + 5)


def test_parts_start_before_all_is_loaded() -> None:
    whole = program(1, 100, ("vector", 40), ("dma_out", 10))
    assert cycles(whole) == 150
    parts = (Part(0.5, 1.0), Part(1.0, 0.25))
    early = replace(whole, stages=(Stage("vector", 40, parts), whole.stages[1]))
    assert cycles(early) == 100 + 10 + 10


def test_parameters_are_needed_after_the_sums() -> None:
    loads = (FirstLoad(50), FirstLoad(60, for_results=True))
    one = program(1, 110, ("cores", 40), ("vector", 7), ("dma_out", 3), first_loads=loads)
    assert cycles(one) == 110 + 7 + 3
    assert cycles(replace(one, first_loads=(FirstLoad(110),))) == 110 + 40 + 7 + 3


def test_steps_of_a_tile_are_loaded_while_it_is_made() -> None:
    one = program(1, 100, ("cores", 100), ("dma_out", 1), steps=even_steps(4), first=FirstLoad(25))
    assert cycles(one) == 25 + 100 + 1
    # A short last step is loaded early, and there are two buffers: the next tile's first one is late.
    uneven = (Step(0.45, 0.45), Step(0.45, 0.45), Step(0.1, 0.1))
    many = program(50, 100, ("cores", 100), ("dma_out", 1), steps=uneven, first=FirstLoad(45))
    assert cycles(many) > 1.2 * 50 * 100
