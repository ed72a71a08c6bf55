"""Compute records against the contractions of flexc.numerics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexc import numerics
from flexc.backends.stream.isa import COMPUTE_DIMS, Format, Opcode, Space
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.backends.stream.simulate import simulate
from tests.stream_bench import Array, Bench, normal, whole
from tests.stream_programs import ConvCase, conv_program

pytestmark = pytest.mark.usefixtures("engine")

CASES = {
    "fb16": ConvCase(),
    "fb12": ConvCase(mantissa_bits=(4, 4), groups=(8, 8)),
    "fb24 sums need fp64": ConvCase(mantissa_bits=(16, 16)),
    "widths differ": ConvCase(mantissa_bits=(4, 8), groups=(8, 4)),
    "groups cut each other": ConvCase(groups=(4, 6), k_tile=12),
    "order of segments matters": ConvCase(spread=20),
    "exponents far apart": ConvCase(spread=60),
    "units below fp32": ConvCase(magnitude=-66, spread=6),
    "stride": ConvCase(stride=2),
    "stride without window": ConvCase(kernel=1, pad=0, stride=2),
    "window as large as the image": ConvCase(kernel=5, shape=(1, 8, 5, 5), pad=0),
    "odd channels of 4 bits": ConvCase(mantissa_bits=(4, 4), shape=(1, 3, 5, 5), k_tile=4),
    "one row": ConvCase(p_tile=1, outputs=8),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_convolution(case: ConvCase) -> None:
    program = conv_program(case)
    found = simulate(program.stream, {}, tensors=True)
    assert found.outputs["y"].tobytes() == np.ascontiguousarray(program.expected).tobytes()
    assert np.array_equal(found.tensors["q.mantissa"], program.quantized.mantissa)
    assert np.array_equal(found.tensors["q.exponent"], program.quantized.exponent)


ON_ONE_CORE = Record(Opcode.COMPUTE, core_grid=(1, 1, 1))
IN_FOURS = replace(ON_ONE_CORE, a_group=4, b_group=4, a_axis=(0, 1), b_axis=(0, 1), lane=(5, 4), unit=(4, 1))
"""Both operands in groups of four along k."""


def loaded_planes(bench: Bench, a: tuple[Array, Array], b: tuple[Array, Array]) -> list[Operand]:
    """Mantissas of 8 bits and exponents on chip, of ``a`` in the operand and of ``b`` in the held buffer."""
    return [
        bench.loaded(plane, fmt, space=space, local=True)
        for planes, space in ((a, Space.OPERAND), (b, Space.HELD))
        for plane, fmt in zip(planes, (Format.M8, Format.E8), strict=True)
    ]


def compute_operand(operand: Operand, **dims: int) -> Operand:
    """A tensor's buffer as an operand of compute: the tensor's dimension for each of compute's."""
    strides = tuple(operand.stride[dims[d]] if d in dims else 0 for d in COMPUTE_DIMS)
    return Operand(operand.slot, operand.format, operand.addressing, strides)


def compute_dims(cores: tuple[int, ...] = (), **counts: int) -> list[Dim]:
    """Dimensions of a compute record; g is over ``cores``, its increments along the core axes."""
    dims = [Dim(counts.get(name, 1), limit=counts.get(name, 1)) for name in COMPUTE_DIMS]
    if cores:
        dims[0] = Dim(counts["g"] // 2, limit=counts["g"], core=cores)
    return dims


@pytest.mark.parametrize("channels", [8, 12])
@pytest.mark.parametrize("split_channels", [False, True])
def test_depthwise_convolution(channels: int, split_channels: bool) -> None:
    x = numerics.quantize(normal(1, channels, 5, 6, spread=3), mantissa_bits=8, tile=(1, 4, 1, 1))
    w = numerics.quantize(normal(channels, 1, 3, 3, seed=1, spread=3), mantissa_bits=4, tile=(1, 1, 3, 3))
    expected = numerics.block_conv_reference(
        x, w, None, stride=(1, 1), pads=(0,) * 4, dilation=(1, 1), group=channels
    )
    bench = Bench()
    cores = (0, 0, channels // 2) if split_channels else ()
    grid = (1, 1, 2) if split_channels else (1, 1, 1)
    here = channels // 2 if split_channels else channels
    last = Dim(here, limit=channels, core=cores or (0, 0, 0))
    planes = (
        (x.mantissa[0].transpose(1, 2, 0), Format.M8),
        (x.exponent[0].transpose(1, 2, 0), Format.E8),
        (w.mantissa[:, 0].transpose(1, 2, 0), Format.M4),
        (w.exponent[:, 0, 0, 0], Format.E8),
    )
    loaded = []
    for place, (values, fmt) in enumerate(planes):
        given = bench.given(values, fmt)
        # The exponents of x are loaded whole, the rest in blocks of channels.
        blocked = split_channels and place != 1
        shape = (*values.shape[:-1], here if blocked else values.shape[-1])
        space = Space.OPERAND if place < 2 else Space.HELD
        buffer = bench.buffer(shape, fmt, space=space, local=True)
        dims = whole(values.shape)
        bench.load(buffer, given, [*dims[:-1], last] if blocked else dims, grid)
        loaded.append(buffer)
    acc = bench.buffer((3, 4, here), Format.F32, space=Space.PSUM, local=True)
    a, a_exponent, b, b_exponent = loaded
    bench.records.append(
        replace(
            ON_ONE_CORE,
            dims=compute_dims(cores, g=channels, p=3, q=4, r=3, s=3),
            operands=(
                compute_operand(acc, p=0, q=1, g=2),
                compute_operand(a, p=0, q=1, g=2, r=0, s=1),
                compute_operand(a_exponent, p=0, q=1, g=2, r=0, s=1),
                compute_operand(b, r=0, s=1, g=2),
                compute_operand(b_exponent, g=0),
            ),
            core_grid=grid,
            a_group=4,
            b_group=1,
            a_axis=(1, 0),
            whole_axis=(1, 0),
            lane=(0, 4),
            unit=(0, 2),
            stream=1,
        )
    )
    out = bench.result("y", (3, 4, channels), Format.F32)
    bench.store(out, acc, [Dim(3, limit=3), Dim(4, limit=4), last], grid)
    assert bench.run()["y"].tobytes() == np.ascontiguousarray(expected[0].transpose(1, 2, 0)).tobytes()


def test_grouped_convolution_cut_by_groups_of_the_whole_tensor() -> None:
    x = numerics.quantize(normal(1, 12, 3, 3, spread=20), mantissa_bits=8, tile=(1, 4, 1, 1))
    w = numerics.quantize(normal(4, 6, 1, 1, seed=1, spread=20), mantissa_bits=8, tile=(1, 4, 1, 1))
    expected = numerics.block_conv_reference(
        x, w, None, stride=(1, 1), pads=(0,) * 4, dilation=(1, 1), group=2
    )
    bench = Bench()
    a, a_exponent, b, b_exponent = loaded_planes(
        bench,
        (x.mantissa[0].transpose(1, 2, 0).reshape(3, 3, 2, 6), x.exponent[0].transpose(1, 2, 0)),
        (w.mantissa.reshape(2, 2, 6), w.exponent.reshape(2, 2, 2)),
    )
    acc = bench.buffer((3, 3, 2, 2), Format.F32, space=Space.PSUM, local=True)
    bench.records.append(
        replace(
            IN_FOURS,
            dims=compute_dims(g=2, p=3, q=3, o=2, k=6),
            operands=(
                compute_operand(acc, p=0, q=1, g=2, o=3),
                compute_operand(a, p=0, q=1, g=2, k=3),
                compute_operand(a_exponent, p=0, q=1, k=2),
                compute_operand(b, g=0, o=1, k=2),
                compute_operand(b_exponent, g=0, o=1, k=2),
            ),
            a_axis=(6, 1),
            whole_axis=(1, 0),
        )
    )
    out = bench.result("y", (3, 3, 2, 2), Format.F32)
    bench.store(out, acc, whole((3, 3, 2, 2)))
    assert bench.run()["y"].tobytes() == np.ascontiguousarray(expected[0].transpose(1, 2, 0)).tobytes()


def test_fp32_product() -> None:
    a, b = normal(5, 7), normal(3, 7, seed=1)
    bench = Bench()
    operands = [
        bench.loaded(values, Format.F32, space=space, local=True)
        for values, space in ((a, Space.OPERAND), (b, Space.HELD))
    ]
    acc = bench.buffer((5, 3), Format.F32, space=Space.PSUM, local=True)
    bench.records.append(
        replace(
            ON_ONE_CORE,
            dims=compute_dims(p=5, o=3, k=7),
            operands=(
                compute_operand(acc, p=0, o=1),
                compute_operand(operands[0], p=0, k=1),
                None,
                compute_operand(operands[1], o=0, k=1),
                None,
            ),
        )
    )
    bench.store(bench.result("y", (5, 3), Format.F32), acc, whole((5, 3)))
    np.testing.assert_allclose(bench.run()["y"], a @ b.T, rtol=1e-5)


def test_exponents_may_change_while_mantissas_are_held() -> None:
    a = numerics.quantize(normal(3, 4), mantissa_bits=8, tile=(1, 4))
    b = numerics.quantize(normal(2, 4, seed=1), mantissa_bits=8, tile=(1, 4))
    bench = Bench()
    loaded = loaded_planes(bench, (a.mantissa, a.exponent), (b.mantissa, b.exponent))
    acc = bench.buffer((3, 2), Format.F32, space=Space.PSUM, local=True)
    product = replace(
        IN_FOURS,
        dims=compute_dims(p=3, o=2, k=4),
        operands=(
            compute_operand(acc, p=0, o=1),
            *(compute_operand(plane, p=0, k=1) for plane in loaded[:2]),
            *(compute_operand(plane, o=0, k=1) for plane in loaded[2:]),
        ),
    )
    both = bench.given(np.stack([b.exponent, b.exponent + np.uint8(3)]), Format.E8)
    result = bench.result("y", (2, 3, 2), Format.F32)
    turn = Dim(1, limit=2, loop=(1, 0, 0, 0, 0, 0))
    bench.records.append(Record(Opcode.LOOP, count=2))
    bench.load(replace(loaded[3], stride=(0, *loaded[3].stride)), both, [turn, *whole((2, 1))])
    bench.records.append(product)
    bench.store(result, replace(acc, stride=(0, *acc.stride)), [turn, *whole((3, 2))])
    bench.records.append(Record(Opcode.END))
    first, second = bench.run()["y"]
    assert first.any()
    assert np.array_equal(second, 8 * first)


def test_operands_of_one_size_whose_taps_run_against_each_other() -> None:
    """Row p of the result takes rows p + 1 and p of a, so outputs and taps share no window."""
    x, w = normal(4, 4), normal(2, 2, 4, seed=1)
    a = numerics.quantize(x, mantissa_bits=8, tile=(1, 4))
    b = numerics.quantize(w, mantissa_bits=8, tile=(1, 1, 4))
    bench = Bench()
    loaded = loaded_planes(bench, (a.mantissa, a.exponent), (b.mantissa, b.exponent))
    acc = bench.buffer((3, 2), Format.F32, space=Space.PSUM, local=True)
    r = COMPUTE_DIMS.index("r")
    backwards = []
    for plane in loaded[:2]:
        strides = list(compute_operand(plane, p=0, k=1).stride)
        strides[r] = -plane.stride[0]
        backwards.append(replace(plane, offset=plane.stride[0], stride=tuple(strides)))
    bench.records.append(
        replace(
            IN_FOURS,
            dims=compute_dims(p=3, o=2, k=4, r=2),
            operands=(
                compute_operand(acc, p=0, o=1),
                *backwards,
                *(compute_operand(plane, r=0, o=1, k=2) for plane in loaded[2:]),
            ),
        )
    )
    bench.store(bench.result("y", (3, 2), Format.F32), acc, whole((3, 2)))
    rows = numerics.quantize(np.hstack([x[1:], x[:-1]]), mantissa_bits=8, tile=(1, 4))
    columns = numerics.quantize(np.hstack(list(w)).T.copy(), mantissa_bits=8, tile=(4, 1))
    assert bench.run()["y"].tobytes() == numerics.block_matmul(rows, columns).tobytes()
