"""Accesses that memory does not allow, and values that arithmetic does not, stop the machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import Addressing, Format, Opcode, Space
from flexc.backends.stream.isa_functions import FUNCTION_CODES
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.backends.stream.simulate import simulate
from tests.stream_bench import Bench, normal, whole
from tests.stream_programs import ConvCase, conv_program, declare


def fault_of(bench: Bench) -> StreamFault:
    with pytest.raises(StreamFault) as caught:
        bench.run()
    return caught.value


def test_nothing_is_in_a_buffer_that_nothing_wrote() -> None:
    for local in (False, True):
        bench = Bench()
        buffer = bench.buffer((2, 3), Format.F32, local=local)
        bench.store(bench.result("y", (2, 3), Format.F32), buffer, whole((2, 3)))
        fault = fault_of(bench)
        assert (fault.record, fault.opcode, fault.operand) == (2, "store", "src")


def test_one_element_that_nothing_wrote() -> None:
    bench = Bench()
    given = bench.given(normal(2, 3), Format.F32)
    buffer = bench.buffer((2, 4), Format.F32)
    out = bench.result("y", (2, 4), Format.F32)
    bench.load(buffer, given, whole((2, 3)))
    bench.records.append(Record(Opcode.LOOP, count=2))
    row = Dim(1, limit=2, loop=(1, 0, 0, 0, 0, 0))
    one_row = Operand(buffer.slot, buffer.format, buffer.addressing, (0, 32))
    bench.store(out, one_row, [row, Dim(4, limit=4)])
    bench.records.append(Record(Opcode.END))
    fault = fault_of(bench)
    assert fault.message == "reads what nothing has written"
    assert (fault.counters, fault.address_bits) == ((0,), 96)
    assert str(fault) == (
        "record 5, store, operand src, iteration [0], byte 12: reads what nothing has written"
    )


def test_next_forgets() -> None:
    bench = Bench()
    buffer = bench.loaded(normal(4), Format.F32, depth=1)
    bench.next(buffer)
    bench.store(bench.result("y", (4,), Format.F32), buffer, whole((4,)))
    assert "nothing has written" in str(fault_of(bench))


def test_cores_that_another_core_grid_did_not_write() -> None:
    bench = Bench()
    given = bench.given(normal(4, 3), Format.F32)
    buffer = bench.buffer((1, 3), Format.F32, local=True)
    row = Dim(1, limit=4, core=(0, 0, 1))
    bench.load(buffer, given, [row, Dim(3, limit=3)], (1, 1, 2))
    bench.store(bench.result("y", (4, 3), Format.F32), buffer, [row, Dim(3, limit=3)], (1, 1, 4))
    assert "nothing has written" in str(fault_of(bench))


def test_a_slot_ends_those_it_overlaps() -> None:
    bench = Bench()
    buffer = bench.loaded(normal(4), Format.F32)
    bench.records.append(declare(20, Space.OPERAND, 3, 1))
    bench.store(bench.result("y", (4,), Format.F32), buffer, whole((4,)))
    assert f"slot {buffer.slot} is not declared, or its memory was given away" in str(fault_of(bench))


@pytest.mark.parametrize(("offset", "address"), [(8 * 4, 8 * 4 * 4), (-8, -8)])
def test_an_element_outside_the_slot(offset: int, address: int) -> None:
    bench = Bench()
    buffer = bench.loaded(normal(4), Format.F32)
    moved = Operand(buffer.slot, buffer.format, buffer.addressing, buffer.stride, offset)
    bench.store(bench.result("y", (4,), Format.F32), moved, whole((4,)))
    fault = fault_of(bench)
    assert "outside the slot's 16 bytes" in fault.message
    assert fault.address_bits == address


def test_an_element_between_bytes() -> None:
    bench = Bench()
    buffer = bench.buffer((6,), Format.M4)
    given = bench.given(np.arange(6, dtype=np.int8), Format.M4)
    moved = Operand(buffer.slot, buffer.format, buffer.addressing, buffer.stride, 4)
    bench.load(moved, given, whole((4,)))
    assert "not on a byte" in str(fault_of(bench))


def test_the_addressing_of_another_kind_of_slot() -> None:
    bench = Bench()
    buffer = bench.loaded(normal(4), Format.F32)
    other = Operand(buffer.slot, buffer.format, Addressing.LOCAL, buffer.stride)
    bench.store(bench.result("y", (4,), Format.F32), other, whole((4,)))
    assert "operand src: local addresses in a slot of chip ones" in str(fault_of(bench))


def test_cores_that_write_one_address() -> None:
    bench = Bench()
    given = bench.given(normal(2, 4), Format.F32)
    buffer = bench.buffer((1, 4), Format.F32, local=True)
    bench.load(buffer, given, [Dim(1, limit=2, core=(0, 0, 1)), Dim(4, limit=4)], (1, 1, 2))
    out = bench.result("y", (1, 4), Format.F32)
    bench.store(out, buffer, whole((1, 4)), (1, 1, 2))
    assert "several elements to one address" in str(fault_of(bench))


def test_values_that_fp10_does_not_hold() -> None:
    bench = Bench()
    buffer = bench.loaded(np.full(4, 0.1, np.float32), Format.F32)
    bench.store(bench.result("y", (4,), Format.FP10), buffer, whole((4,)))
    assert "FP10A does not hold" in str(fault_of(bench))


def test_codes_that_no_fp10_has() -> None:
    bench = Bench()
    given = bench.given(np.full(5, 255, np.uint8), Format.E8)
    buffer = bench.buffer((4,), Format.F32)
    codes = Operand(given.slot, Format.FP10, given.addressing, (10,))
    bench.load(buffer, codes, whole((4,)))
    assert "no fp10 value" in str(fault_of(bench))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_converting_what_is_not_finite(value: float) -> None:
    bench = Bench()
    x = normal(2, 4)
    x[1, 2] = value
    buffer = bench.loaded(x, Format.F32)
    mantissa, exponent = bench.buffer((2, 4), Format.M8), bench.buffer((2, 1), Format.E8)
    bench.records.append(
        Record(
            Opcode.CONVERT,
            dims=whole((2, 4)),
            operands=(mantissa, exponent, buffer),
            axis=1,
            a_group=4,
            core_grid=(1, 1, 1),
        )
    )
    assert "convert, operand src: quantize: non-finite value in 'x' at index [1, 2]" in str(fault_of(bench))


def converting(group: int, dims: list[Dim], grid: tuple[int, ...]) -> StreamFault:
    bench = Bench()
    given = bench.given(normal(2, 8), Format.F32)
    buffer = bench.buffer((2, 8), Format.F32, local=True)
    bench.load(buffer, given, dims, grid)
    mantissa, exponent = bench.buffer((2, 8), Format.M8), bench.buffer((2, 8), Format.E8)
    operands = (mantissa, exponent, buffer)
    bench.records.append(
        Record(Opcode.CONVERT, dims=dims, operands=operands, axis=1, a_group=group, core_grid=grid)
    )
    return fault_of(bench)


def test_groups_that_a_conversion_would_split() -> None:
    end, start = Dim(6, limit=8), Dim(6, 2, limit=8)
    rows = Dim(2, limit=2)
    assert "coordinates 0 to 6 split a group of 4" in str(converting(4, [rows, end], (1, 1, 1)))
    assert "coordinates 2 to 8 split a group of 4" in str(converting(4, [rows, start], (1, 1, 1)))


@pytest.mark.parametrize(("step", "message"), [(3, "overlap"), (5, "leave gaps")])
def test_cores_that_do_not_tile_a_conversion(step: int, message: str) -> None:
    dims = [Dim(2, limit=2), Dim(4, core=(0, 0, step))]
    dims[1] = replace(dims[1], limit=8 if step == 3 else 9)
    bench = Bench()
    given = bench.given(normal(2, 9), Format.F32)
    buffer = bench.buffer((2, 4), Format.F32, local=True)
    bench.load(buffer, given, dims, (1, 1, 2))
    operands = (bench.buffer((2, 9), Format.M8), bench.buffer((2, 9), Format.E8), buffer)
    bench.records.append(
        Record(Opcode.CONVERT, dims=dims, operands=operands, axis=1, a_group=1, core_grid=(1, 1, 2))
    )
    assert message in str(fault_of(bench))


def multiplying(a_space: Space, b_space: Space, k: int = 4, group: int = 4) -> StreamFault:
    bench = Bench()
    ones = np.full((1, k), 32767, np.int16)
    a = bench.loaded(ones, Format.M16, space=a_space, local=True)
    b = bench.loaded(ones, Format.M16, space=b_space, local=True)
    exponents = np.full((1, -(-k // group)), 250, np.uint8)
    a_exponent = bench.loaded(exponents, Format.E8, space=a_space, local=True)
    b_exponent = bench.loaded(exponents, Format.E8, space=b_space, local=True)
    acc = bench.buffer((1,), Format.F32, space=Space.PSUM, local=True)

    def along_k(operand: Operand) -> Operand:
        return replace(operand, stride=(0, 0, 0, 0, 0, operand.stride[1], 0, 0))

    bench.records.append(
        Record(
            Opcode.COMPUTE,
            dims=[Dim(k if d == 5 else 1, limit=k if d == 5 else 1) for d in range(8)],
            operands=(replace(acc, stride=()), *map(along_k, (a, a_exponent, b, b_exponent))),
            core_grid=(1, 1, 1),
            a_group=group,
            b_group=group,
            a_axis=(0, 1),
            b_axis=(0, 1),
            lane=(5, 6),
            unit=(4, 1),
        )
    )
    return fault_of(bench)


def test_operands_in_the_wrong_buffer() -> None:
    assert "operand a: is not in the operand buffer" in str(multiplying(Space.HELD, Space.HELD))
    assert "operand b: is not in the held buffer" in str(multiplying(Space.OPERAND, Space.OPERAND))


def test_an_accumulator_that_is_not_finite() -> None:
    assert "operand acc: an accumulator is not finite" in str(multiplying(Space.OPERAND, Space.HELD))


def test_a_segment_that_overflows_the_integer_accumulators() -> None:
    assert "a segment of 1024 products of 32 bits" in str(multiplying(Space.OPERAND, Space.HELD, 1024, 1024))


def test_exponents_that_were_not_loaded() -> None:
    program = conv_program(ConvCase())
    records = program.stream.records.copy()
    index = int(np.flatnonzero(records["opcode"] == Opcode.COMPUTE)[0])
    records[index]["operand"][2]["offset"] += 8 * 64
    with pytest.raises(StreamFault, match="operand a_exponent"):
        simulate(replace(program.stream, records=records), {})


def test_an_integer_where_the_vector_unit_wants_fp32() -> None:
    bench = Bench()
    buffer = bench.loaded(np.arange(4), Format.I64)
    bench.records.append(
        Record(
            Opcode.VECTOR,
            dims=whole((4,)),
            operands=(buffer, buffer),
            function=FUNCTION_CODES["exp"],
            core_grid=(1, 1, 1),
        )
    )
    assert "exp: expected float32, got int64" in str(fault_of(bench))


def test_a_result_of_another_type() -> None:
    bench = Bench()
    buffer = bench.loaded(normal(4), Format.F32)
    bench.records.append(
        Record(
            Opcode.VECTOR,
            dims=whole((4,)),
            operands=(buffer, buffer, buffer),
            function=FUNCTION_CODES["less"],
            core_grid=(1, 1, 1),
        )
    )
    assert "operand dst: less makes bool, not float32" in str(fault_of(bench))
