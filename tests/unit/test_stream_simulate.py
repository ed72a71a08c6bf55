"""The functional simulator: moving, converting and normalizing, inputs, tensors and the command."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flexc import numerics
from flexc.array_files import read_npz, write_npz
from flexc.backends.stream.encode import encode
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import Addressing, Format, Opcode, Rounding, Space
from flexc.backends.stream.isa_functions import FUNCTION_CODES
from flexc.backends.stream.program import InitialData, Stream, Symbol, SymbolPlane
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.backends.stream.run import simulate_file
from flexc.backends.stream.simulate import main, simulate
from flexc.diagnostics import CompileError
from tests.stream_bench import Bench, normal, whole
from tests.stream_programs import MACHINE, declare_plane


@pytest.mark.parametrize("rounding", list(Rounding))
def test_conversion_over_cores_and_tiles(rounding: Rounding) -> None:
    x = normal(6, 10, spread=5)
    expected = numerics.quantize(
        x, mantissa_bits=8, tile=(1, 3), rounding=rounding.name.lower(), seed=5, stream=9
    )
    bench = Bench()
    given = bench.given(x, Format.F32)
    mantissa = bench.result("mantissa", (6, 10), Format.M8)
    exponent = bench.result("exponent", (6, 4), Format.E8)
    acc = bench.buffer((2, 10), Format.F32, space=Space.PSUM, local=True)
    staged = bench.buffer((4, 10), Format.M8, space=Space.PSUM)
    staged_exponent = bench.buffer((4, 4), Format.E8, space=Space.PSUM)
    bench.records.append(Record(Opcode.LOOP, count=2))
    tile = [Dim(2, limit=6, loop=(4, 0, 0, 0, 0, 0), core=(0, 2, 0)), Dim(10, limit=10)]
    bench.load(acc, given, tile, (1, 2, 1))
    stochastic = rounding is Rounding.STOCHASTIC
    position = Operand(0xFFFF, Format.F32, Addressing.LOCAL, (10, 1)) if stochastic else None
    bench.records.append(
        Record(
            Opcode.CONVERT,
            dims=tile,
            operands=(staged, staged_exponent, acc, position),
            function=rounding,
            axis=1,
            a_group=3,
            core_grid=(1, 2, 1),
            seed=5 if stochastic else 0,
            stream_number=9 if stochastic else 0,
        )
    )
    rows = Dim(4, limit=6, loop=(4, 0, 0, 0, 0, 0))
    bench.store(mantissa, staged, [rows, Dim(10, limit=10)])
    bench.store(exponent, staged_exponent, [rows, Dim(4, limit=4)])
    bench.records.append(Record(Opcode.END))
    found = bench.run()
    assert np.array_equal(found["mantissa"], expected.mantissa)
    assert np.array_equal(found["exponent"], expected.exponent)


def test_normalization_with_channels_over_cores() -> None:
    x = normal(3, 10, spread=3)
    gamma, beta, mean = (normal(10, seed=seed) for seed in (1, 2, 3))
    variance = np.abs(normal(10, seed=4))
    constants = numerics.lightnorm_infer_constants(gamma, mean, variance, eps=1e-5)
    bench = Bench()
    dims = [Dim(3, limit=3), Dim(8, limit=10, core=(0, 0, 8))]
    buffers = []
    for values in (x, *constants, beta):
        given = bench.given(values, Format.F32)
        buffers.append(bench.buffer((*values.shape[:-1], 8), Format.F32, local=True))
        bench.load(buffers[-1], given, dims[2 - values.ndim :], (1, 1, 2))
    x_buffer, *vectors = buffers
    rows = [Operand(v.slot, v.format, v.addressing, (0, *v.stride)) for v in vectors]
    bench.records.append(
        Record(Opcode.NORM, dims=dims, operands=(x_buffer, x_buffer, *rows), axis=1, core_grid=(1, 1, 2))
    )
    bench.store(bench.result("y", (3, 10), Format.F32), x_buffer, dims, (1, 1, 2))
    expected = numerics.lightnorm_infer(x, gamma, beta, mean, variance, eps=1e-5)
    assert bench.run()["y"].tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.mark.parametrize("channels", [3, 4, 7, 8])
def test_fp10_is_packed_and_unpacked(channels: int) -> None:
    x = numerics.minifloat(normal(5, channels), exponent_bits=5, fraction_bits=4)
    bench = Bench()
    buffer = bench.loaded(x, Format.F32)
    packed = bench.result("packed", x.shape, Format.FP10)
    bench.store(packed, buffer, whole(x.shape))
    again = bench.buffer(x.shape, Format.F32, space=Space.HELD)
    bench.load(again, packed, whole(x.shape))
    bench.store(bench.result("y", x.shape, Format.F32), again, whole(x.shape))
    as_codes = bench.buffer(x.shape, Format.FP10, space=Space.PSUM)
    bench.load(as_codes, packed, whole(x.shape))
    bench.store(bench.result("codes", x.shape, Format.FP10), as_codes, whole(x.shape))
    found = bench.run()
    for name in ("y", "packed", "codes"):
        assert found[name].tobytes() == x.tobytes()


def test_fp10_elements_that_lie_apart() -> None:
    """A single channel, along which a box need not go: an element in each two bytes."""
    x = numerics.minifloat(normal(5, 3, 1), exponent_bits=5, fraction_bits=4)
    bench = Bench()
    packed = bench.result("packed", x.shape, Format.FP10)
    bench.store(packed, bench.loaded(x, Format.F32), whole(x.shape))
    pixels = x[..., 0]
    buffer = bench.buffer(pixels.shape, Format.F32, space=Space.HELD)
    bench.load(buffer, replace(packed, stride=packed.stride[:2]), whole(pixels.shape))
    bench.store(bench.result("y", pixels.shape, Format.F32), buffer, whole(pixels.shape))
    assert bench.run()["y"].tobytes() == pixels.tobytes()


def test_packed_elements_without_a_neighbour() -> None:
    """Neither in the box nor along a core axis is there a run of one element."""
    bench = Bench()
    apart = bench.given(np.ones((4, 4, 4, 1), np.int8), Format.M4)
    dims = [Dim(2, limit=4, core=tuple(2 * (axis == d) for axis in range(3))) for d in range(3)]
    local = bench.buffer((2, 2, 2), Format.M4, local=True)
    bench.load(local, replace(apart, stride=apart.stride[:3]), dims, (2, 2, 2))
    stream = replace(bench.stream(), machine=replace(MACHINE, cores=8))
    with pytest.raises(StreamFault, match="no two M4 elements are neighbours"):
        simulate(stream, {})


@pytest.mark.parametrize(
    ("low_first", "expected"), [(False, [[0, 1, -8, -7, -6], [3, 4, -5, -4, -3]]),
                                (True, [[0, 1, 2, -7, -6], [3, 4, 5, -4, -3]])],
)  # fmt: skip
def test_nibbles_beside_a_box_are_kept(low_first: bool, expected: list[list[int]]) -> None:
    bench = Bench()
    low = bench.given(np.arange(-8, -2, dtype=np.int8).reshape(2, 3), Format.M4)
    high = bench.given(np.arange(6, dtype=np.int8).reshape(2, 3), Format.M4)
    buffer = bench.buffer((2, 6), Format.M4)
    # Rows of 3 nibbles end in half a byte; the other operand's rows start in that byte.
    after = Operand(buffer.slot, buffer.format, buffer.addressing, buffer.stride, offset=8)
    loads = [(buffer, high), (after, low)]
    for dst, src in reversed(loads) if low_first else loads:
        bench.load(dst, src, whole((2, 3)))
    out = bench.result("y", (2, 5), Format.M4)
    bench.store(out, buffer, [Dim(2, limit=2), Dim(5, limit=5)])
    assert bench.run()["y"].tolist() == expected


def test_a_load_fills_what_is_outside() -> None:
    bench = Bench()
    given = bench.given(normal(3, 4), Format.F32)
    buffer = bench.buffer((5, 6), Format.F32)
    bench.load(buffer, given, [Dim(5, -1, limit=3), Dim(6, -1, limit=4)], immediate=(-np.inf,))
    bench.store(bench.result("y", (5, 6), Format.F32), buffer, whole((5, 6)))
    assert np.array_equal(bench.run()["y"], np.pad(normal(3, 4), 1, constant_values=-np.inf))


def test_steps_backwards() -> None:
    bench = Bench()
    given = bench.given(normal(4, 6), Format.F32)
    buffer = bench.buffer((4, 3), Format.F32)
    bench.load(buffer, given, [Dim(4, 3, -1, 4), Dim(3, 5, -2, 6)])
    bench.store(bench.result("y", (4, 3), Format.F32), buffer, whole((4, 3)))
    assert np.array_equal(bench.run()["y"], normal(4, 6)[::-1, ::-2])


def gather_program(indices: list[int]) -> Bench:
    """Rows of a 5 x 3 tensor by index, over two cores."""
    bench = Bench()
    table = bench.given(normal(5, 3), Format.F32)
    index = bench.given(np.array(indices), Format.I64)
    dims = [Dim(len(indices) // 2, limit=len(indices), core=(0, len(indices) // 2, 0)), Dim(3, limit=3)]
    buffer = bench.buffer((len(indices) // 2, 3), Format.F32, local=True)
    by_row = Operand(index.slot, index.format, index.addressing, (64, 0))
    bench.records.append(
        Record(
            Opcode.GATHER,
            dims=dims,
            operands=(buffer, table, by_row),
            core_grid=(1, 2, 1),
            immediate_int=5,
        )
    )
    bench.store(bench.result("y", (len(indices), 3), Format.F32), buffer, dims, (1, 2, 1))
    return bench


def test_gather() -> None:
    assert np.array_equal(gather_program([4, 0, -1, 2]).run()["y"], normal(5, 3)[[4, 0, -1, 2]])


@pytest.mark.parametrize("wrong", [5, -6])
def test_gather_out_of_range(wrong: int) -> None:
    with pytest.raises(StreamFault, match=r"gather, operand indices: index .* of 5"):
        gather_program([0, 1, 2, wrong]).run()


def test_buffers_keep_what_other_core_grids_do_not_see() -> None:
    x = normal(4, 3)
    bench = Bench()
    given = bench.given(x, Format.F32)
    buffer = bench.buffer((1, 3), Format.F32, local=True)
    bench.load(buffer, given, [Dim(1, limit=4, core=(0, 0, 1)), Dim(3, limit=3)], (1, 1, 4))
    first_two = [Dim(1, limit=2, core=(0, 1, 0)), Dim(3, limit=3)]
    bench.records.append(
        Record(
            Opcode.VECTOR,
            dims=first_two,
            operands=(buffer, buffer),
            function=FUNCTION_CODES["neg"],
            core_grid=(1, 2, 1),
        )
    )
    out = bench.result("y", (4, 3), Format.F32)
    bench.store(out, buffer, [Dim(1, limit=4, core=(0, 0, 1)), Dim(3, limit=3)], (1, 1, 4))
    assert np.array_equal(bench.run()["y"], np.concatenate([-x[:2], x[2:]]))


def input_stream(fmt: Format = Format.F32) -> Stream:
    """y = -x for an input of [2, 3] in column order."""
    bench = Bench()
    plane = bench.dram.plane(fmt, (2, 3), (1, 0))
    given = bench.plane(plane, keep=True)
    buffer = bench.buffer((2, 3), fmt)
    bench.load(buffer, given, whole((2, 3)))
    bench.records.append(
        Record(
            Opcode.VECTOR,
            dims=whole((2, 3)),
            operands=(buffer, buffer),
            function=FUNCTION_CODES["neg"],
            core_grid=(1, 1, 1),
        )
    )
    bench.store(bench.result("y", (2, 3), fmt), buffer, whole((2, 3)))
    stream = bench.stream()
    symbols = (Symbol("file", "input", (2, 3), (plane,)), *stream.symbols)
    return Stream(stream.records, symbols, stream.initial, stream.machine, stream.groups)


def test_inputs_are_placed_by_the_strides_of_their_symbol() -> None:
    assert np.array_equal(simulate(input_stream(), {"file": normal(2, 3)}).outputs["y"], -normal(2, 3))


@pytest.mark.parametrize(
    ("inputs", "code"),
    [({}, "FX541"), ({"file": normal(3, 2)}, "FX542"), ({"file": normal(2, 3).astype(np.float64)}, "FX542")],
)
def test_inputs_that_do_not_fit(inputs: dict[str, np.ndarray], code: str) -> None:
    with pytest.raises(CompileError, match=code):
        simulate(input_stream(), inputs)


def test_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "stream.bin"
    path.write_bytes(encode(input_stream()))
    outputs, tensors = simulate_file(path, {"file": normal(2, 3)}, tensors=True)
    assert np.array_equal(outputs["y"], -normal(2, 3))
    assert tensors == {}
    with pytest.raises(StreamFault, match="FX541"):
        simulate_file(path, {})


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = input_stream()
    path, inputs, outputs = (tmp_path / name for name in ("stream.bin", "in.npz", "out.npz"))
    path.write_bytes(encode(stream))
    write_npz(inputs, {"file": normal(2, 3)})
    assert main([str(path), str(inputs), str(outputs)]) == 0
    assert np.array_equal(read_npz(outputs)["y"], -normal(2, 3))
    records = stream.records.copy()
    records[-2]["opcode"] = Opcode.HALT
    path.write_bytes(encode(Stream(records, stream.symbols, stream.initial, stream.machine, ())))
    assert main([str(path), str(inputs), str(outputs)]) == 1
    assert "fault: record" in capsys.readouterr().err


def test_a_tensor_is_captured_before_its_memory_is_used_again() -> None:
    bench = Bench()
    first, second = bench.loaded(normal(4), Format.F32), bench.loaded(normal(4, seed=1), Format.F32)
    plane = bench.dram.plane(Format.F32, (4,), (0,))
    done = []
    for buffer in (first, second):
        bench.records.append(declare_plane(9, plane, keep=False))
        bench.store(Operand(9, Format.F32, Addressing.GLOBAL, (32,)), buffer, whole((4,)))
        done.append(len(bench.records))
    stream = bench.stream()
    symbols = tuple(
        Symbol(name, "intermediate", (4,), (plane,), at) for name, at in zip("ab", done, strict=True)
    )
    found = simulate(Stream(stream.records, symbols, stream.initial, MACHINE, ()), {}, tensors=True)
    assert np.array_equal(found.tensors["a"], normal(4))
    assert np.array_equal(found.tensors["b"], normal(4, seed=1))


def test_weights_are_among_the_tensors() -> None:
    values = np.arange(6, dtype=np.int8).reshape(2, 3)
    plane = SymbolPlane(Format.M8, 0, 6, (2, 3), (24, 8))
    exponents = SymbolPlane(Format.E8, 8, 2, (2, 1), (8, 8))
    initial = (InitialData(0, values.reshape(-1).view(np.uint8)), InitialData(8, np.array([7, 9], np.uint8)))
    symbol = Symbol("w", "weight", (2, 3), (plane, exponents), 0, (1, 3), 8)
    halt = Bench().stream().records
    found = simulate(Stream(halt, (symbol,), initial, MACHINE, ()), {}, tensors=True).tensors
    assert np.array_equal(found["w.mantissa"], values)
    assert found["w.exponent"].tolist() == [[7], [9]]


def test_the_simulator_knows_nothing_of_graphs() -> None:
    """It is given a stream and arrays; what compiles and what executes graphs is not even imported."""
    code = "import sys, flexc.backends.stream.simulate; print('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = run.stdout.split()
    others = ("xdsl", "onnx", "flexc.ir", "flexc.passes", "flexc.backends.executor", "flexc.mapping")
    assert [name for name in modules if name.startswith(others)] == []
