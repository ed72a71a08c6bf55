"""The timing simulation: costs from instruction fields, and what waits for what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexc.backends.stream.isa import Format, Opcode, Space
from flexc.backends.stream.isa_functions import FUNCTION_CODES
from flexc.backends.stream.program import GroupRange, Stream
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.backends.stream.timeline import Timeline
from flexc.backends.stream.timing import simulate
from flexc.cost.tile_cycles import core_rates, tile_compute_cycles
from flexc.ir.mapping import Factor, PeFactor
from flexc.target import load_target
from tests.stream_bench import Bench, normal, whole
from tests.stream_programs import ConvCase, conv_program

TARGET = replace(
    load_target("flexblock-edge"),
    dram_latency_cycles=100,
    dram_bytes_per_second=8 * load_target("flexblock-edge").clock_mhz * 1e6,
    vector_elements_per_cycle=16,
    converter_elements_per_cycle=4,
    lightnorm_elements_per_cycle=2,
)
"""8 bytes a cycle from DRAM."""


def timed(bench: Bench) -> Timeline:
    return simulate(bench.stream(), TARGET)


def vector(bench: Bench, operand: Operand, function: str, dims: list[Dim]) -> None:
    bench.records.append(
        Record(
            Opcode.VECTOR,
            dims=dims,
            operands=(operand, operand),
            function=FUNCTION_CODES[function],
            core_grid=(1, 1, 1),
        )
    )


def test_transfers_take_latency_and_bytes_at_the_rate() -> None:
    bench = Bench()
    buffer = bench.loaded(normal(10, 3), Format.F32)
    bench.store(bench.result("y", (10, 3), Format.F32), buffer, whole((10, 3)))
    found = timed(bench)
    assert (found.read_bytes, found.written_bytes) == (120, 120)
    assert (found.busy["dma_in"], found.busy["dma_out"], found.cycles) == (115, 115, 230)


def test_traffic_is_unpadded_bits_of_what_is_inside_rounded_up_to_bytes() -> None:
    bench = Bench()
    given = bench.given(np.zeros((5, 3), np.int8), Format.M4)
    bench.load(bench.buffer((7, 3), Format.M4), given, [Dim(7, -1, limit=5), Dim(3, limit=3)])
    assert timed(bench).read_bytes == 8


def test_a_broadcast_and_overlapping_boxes_are_read_once() -> None:
    bench = Bench()
    given = bench.given(normal(6, 4), Format.F32)
    buffer = bench.buffer((4, 4), Format.F32, local=True)
    rows = Dim(4, limit=6, core=(0, 2, 0))
    bench.load(buffer, given, [rows, Dim(4, limit=4)], (1, 2, 2))
    assert timed(bench).read_bytes == 6 * 4 * 4


def test_dimensions_that_the_source_does_not_have_are_read_once() -> None:
    bench = Bench()
    given = bench.given(normal(4), Format.F32)
    row = replace(given, stride=(0, 32))
    bench.load(bench.buffer((9, 4), Format.F32), row, whole((9, 4)))
    assert timed(bench).read_bytes == 16


def test_rates_of_the_other_engines() -> None:
    bench = Bench()
    x = bench.loaded(normal(3, 12), Format.F32)
    vector(bench, x, "relu", whole((3, 12)))
    vector(bench, x, "exp", whole((3, 12)))
    mantissa, exponent = bench.buffer((3, 12), Format.M8), bench.buffer((3, 3), Format.E8)
    bench.records.append(
        Record(
            Opcode.CONVERT,
            dims=whole((3, 12)),
            operands=(mantissa, exponent, x),
            axis=1,
            a_group=4,
            core_grid=(1, 1, 1),
        )
    )
    row = replace(x, stride=(0, 32))
    bench.records.append(
        Record(
            Opcode.NORM, dims=whole((3, 12)), operands=(x, x, row, row, row, row), axis=1, core_grid=(1, 1, 1)
        )
    )
    busy = timed(bench).busy
    assert busy["vector"] == 3 * (1 + TARGET.vector_cycles.exp)
    assert busy["converter"] == 9
    assert busy["lightnorm"] == 18


def test_engines_run_side_by_side_and_wait_for_what_they_read() -> None:
    bench = Bench()
    first = bench.loaded(normal(64), Format.F32)
    second = bench.loaded(normal(64), Format.F32)
    vector(bench, first, "relu", whole((64,)))
    vector(bench, second, "relu", whole((64,)))
    # The loads take 132 cycles each; the second function waits for the second load.
    assert timed(bench).cycles == 264 + 4


def ring_program(depth: int) -> Bench:
    """Four tiles through one slot: load, an expensive function."""
    bench = Bench()
    given = bench.given(normal(4, 256), Format.F32)
    buffer = bench.buffer((256,), Format.F32, depth=depth)
    result = bench.buffer((256,), Format.F32)
    bench.records.append(Record(Opcode.LOOP, count=4))
    bench.next(buffer)
    row = replace(buffer, stride=(0, 32))
    tile = [Dim(1, limit=4, loop=(1, 0, 0, 0, 0, 0)), Dim(256, limit=256)]
    bench.load(row, given, tile)
    bench.records.append(
        Record(
            Opcode.VECTOR,
            dims=tile,
            operands=(replace(result, stride=(0, 32)), row),
            function=FUNCTION_CODES["exp"],
            core_grid=(1, 1, 1),
        )
    )
    bench.records.append(Record(Opcode.END))
    return bench


def test_a_ring_of_two_hides_loads_behind_work() -> None:
    load, work = 100 + 256 * 4 // 8, 16 * TARGET.vector_cycles.exp
    assert timed(ring_program(1)).cycles == 4 * (load + work)
    assert timed(ring_program(2)).cycles == 4 * max(load, work) + min(load, work)
    assert timed(ring_program(2)).instructions == 8


def test_memory_that_a_new_slot_takes_is_waited_for() -> None:
    def program(address: int) -> Timeline:
        bench = Bench()
        x = bench.loaded(normal(256), Format.F32)
        vector(bench, x, "exp", whole((256,)))
        other = bench.given(normal(4), Format.F32)
        bench._next_byte[Space.OPERAND] = address
        bench.load(bench.buffer((4,), Format.F32), other, whole((4,)))
        return timed(bench)

    work = 16 * TARGET.vector_cycles.exp
    assert program(4096).busy == program(0).busy
    # Both loads are done while the function runs, or the second waits for its end.
    assert program(4096).cycles == 228 + work
    assert program(0).cycles == 228 + work + 102


def test_dram_is_waited_for_through_another_slot() -> None:
    bench = Bench()
    x = bench.loaded(normal(4), Format.F32)
    vector(bench, x, "exp", whole((4,)))
    plane = bench.dram.plane(Format.F32, (4,), (0,))
    bench.store(bench.plane(plane, keep=False), x, whole((4,)))
    bench.load(bench.buffer((4,), Format.F32), bench.plane(plane, keep=True), whole((4,)))
    # Load, function, store, load: one after the other.
    assert timed(bench).cycles == 102 + TARGET.vector_cycles.exp + 102 + 102


@pytest.fixture(scope="module")
def conv() -> Stream:
    return conv_program(ConvCase()).stream


def test_macs_and_cycles_of_compute_records(conv: Stream) -> None:
    found = simulate(conv, TARGET)
    n, o, oh, ow, k, taps = 2, 6, 7, 6, 20, 9
    assert found.macs == n * o * oh * ow * k * taps
    rates = core_rates(TARGET, 8, 8)
    factors = (Factor("k", 4), Factor("o", 2), [PeFactor("chain", "k", 3), PeFactor("outputs", "o", 3)])

    def tile(rows: int, k: int) -> int:
        segments = [(4,) * (k // 4)]
        return tile_compute_cycles(rates, "a", *factors, (1, 2, rows, 6, 2), (3, 3), segments).total

    # Two tiles of channels, two of rows (of 2 x 2 and of 2 + 1 rows over the cores), three of k.
    assert found.busy["cores"] == 2 * 2 * (2 * tile(2, 8) + tile(2, 4))


def test_segments_cut_by_both_operands_take_longer(conv: Stream) -> None:
    records = conv.records.copy()
    records["a_group"][records["opcode"] == Opcode.COMPUTE] = 3
    cut = simulate(replace(conv, records=records), TARGET)
    assert cut.busy["cores"] > simulate(conv, TARGET).busy["cores"]


def test_fp32_products_run_on_the_vector_unit() -> None:
    bench = Bench()
    a = bench.loaded(normal(4, 8), Format.F32, local=True)
    b = bench.loaded(normal(2, 8), Format.F32, space=Space.HELD, local=True)
    acc = bench.buffer((4, 2), Format.F32, space=Space.PSUM, local=True)
    extents = (1, 1, 4, 1, 2, 8, 1, 1)
    bench.records.append(
        Record(
            Opcode.COMPUTE,
            dims=[Dim(extent, limit=extent) for extent in extents],
            operands=(
                replace(acc, stride=(0, 0, 64, 0, 32)),
                replace(a, stride=(0, 0, 256, 0, 0, 32)),
                None,
                replace(b, stride=(0, 0, 0, 0, 256, 32)),
                None,
            ),
            core_grid=(1, 1, 1),
        )
    )
    found = timed(bench)
    assert (found.macs, found.busy["vector"], found.busy["cores"]) == (64, 4, 0)


def test_groups_share_out_the_whole(conv: Stream) -> None:
    index = int(np.argmax(conv.records["opcode"] == Opcode.LOOP))
    end = len(conv.records) - 1
    groups = (GroupRange(0, "nothing", 0, index), GroupRange(1, "conv", index, end))
    found = simulate(replace(conv, groups=groups), TARGET)
    nothing, group = found.groups
    assert (nothing.start, nothing.end, nothing.engines, nothing.instructions) == (0, 0, {}, 0)
    assert (group.start, group.end, group.label) == (0, found.cycles, "conv")
    assert {name: use.busy for name, use in group.engines.items()} == {
        name: cycles for name, cycles in found.busy.items() if cycles
    }
    assert (group.macs, group.read_bytes, group.written_bytes, group.instructions) == (
        found.macs,
        found.read_bytes,
        found.written_bytes,
        found.instructions,
    )
    for use in group.engines.values():
        assert use.busy <= use.end - use.start
