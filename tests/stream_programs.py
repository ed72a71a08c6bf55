"""Instruction streams written by hand, record by record, with what they should compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc import numerics
from flexc.backends.stream.formats import WHOLE_BYTE_TYPES, pack
from flexc.backends.stream.isa import (
    COMPUTE_DIMS,
    FORMAT_BITS,
    LANES_AND_UNITS,
    MANTISSA_FORMATS,
    Addressing,
    Format,
    Opcode,
    Space,
)
from flexc.backends.stream.program import (
    GroupRange,
    InitialData,
    MachineLimits,
    Stream,
    Symbol,
    SymbolPlane,
)
from flexc.backends.stream.record_builder import Dim, Operand, Record, RecordList

MACHINE = MachineLimits("test", 4, 1 << 15, 1 << 15, 1 << 15, 1 << 20)
LOCAL, CHIP, GLOBAL = Addressing.LOCAL, Addressing.CHIP, Addressing.GLOBAL
Array = NDArray[Any]


class Dram:
    """Planes laid one after the other from address 0, each on 64 bytes."""

    def __init__(self) -> None:
        self.end = 0
        self.initial: list[InitialData] = []

    def plane(self, fmt: Format, shape: tuple[int, ...], order: tuple[int, ...]) -> SymbolPlane:
        """A plane whose dimensions lie in ``order``, outermost first; packed innermost runs fill up bytes."""
        bits = FORMAT_BITS[fmt]
        strides = [0] * len(shape)
        step = bits
        for place, d in enumerate(reversed(order)):
            strides[d] = step
            step *= shape[d]
            if place == 0:
                step = -(-step // 8) * 8
        address = self.end
        size = -(-step // 8)
        self.end += -(-size // 64) * 64
        return SymbolPlane(fmt, address, size, shape, tuple(strides))

    def filled(self, fmt: Format, values: Array, order: tuple[int, ...]) -> SymbolPlane:
        """A plane that holds values from the start."""
        plane = self.plane(fmt, values.shape, order)
        last = np.ascontiguousarray(values.transpose(order))
        if fmt in WHOLE_BYTE_TYPES:
            content = last.astype(WHOLE_BYTE_TYPES[fmt]).reshape(-1).view(np.uint8)
        else:
            content = pack(last, fmt).reshape(-1)
        self.initial.append(InitialData(plane.address_bytes, content))
        return plane


def declare(
    slot: int,
    space: Space,
    address: int,
    size: int,
    *,
    depth: int = 1,
    per_core: bool = False,
    keep: bool = False,
) -> Record:
    """A slot record."""
    return Record(
        Opcode.SLOT,
        slot=slot,
        space=space,
        address_bytes=address,
        size_bytes=size,
        depth=depth,
        per_core=int(per_core),
        keep=int(keep),
    )


def declare_plane(slot: int, plane: SymbolPlane, *, keep: bool) -> Record:
    """A slot of DRAM that is a plane."""
    return declare(slot, Space.DRAM, plane.address_bytes, plane.size_bytes, keep=keep)


def levels(**steps: int) -> tuple[int, ...]:
    """Coordinate steps of the loops o (level 0), p (level 1) and k (level 2)."""
    return (steps.get("o", 0), steps.get("p", 0), steps.get("k", 0), 0, 0, 0)


@dataclass(frozen=True)
class ConvCase:
    """A convolution and its tiling over 2 x 2 cores, p on the second core axis and o on the third.

    Two tiles of outputs are whole groups of the result. Operands are about 2^magnitude, up to 2^spread more
    or less.
    """

    mantissa_bits: tuple[int, int] = (8, 8)
    groups: tuple[int, int] = (4, 4)
    shape: tuple[int, int, int, int] = (2, 20, 7, 6)
    outputs: int = 6
    kernel: int = 3
    stride: int = 1
    pad: int = 1
    p_tile: int = 2
    o_tile: int = 2
    k_tile: int = 8
    spread: int = 4
    magnitude: int = 0
    result_group: int = 4


@dataclass(frozen=True)
class ConvProgram:
    """The stream of a case, and its result [N, O, OH, OW]: stored as ``y`` and, quantized, as ``q``."""

    stream: Stream
    expected: Array
    quantized: numerics.BlockTensor


def exponents_apart(rng: np.random.Generator, shape: tuple[int, ...], spread: int, magnitude: int) -> Array:
    """Normal samples scaled by powers of two from 2^(magnitude - spread) to 2^(magnitude + spread)."""
    exponent = magnitude + rng.integers(-spread, spread + 1, shape)
    scale = np.ldexp(np.float32(1), exponent).astype(np.float32)
    return rng.standard_normal(shape).astype(np.float32) * scale


def conv_program(case: ConvCase, seed: int = 0) -> ConvProgram:
    """A convolution with bias and relu: weights, x and bias are initial data."""
    rng = np.random.default_rng(seed)
    x = numerics.quantize(
        exponents_apart(rng, case.shape, case.spread, case.magnitude),
        mantissa_bits=case.mantissa_bits[0],
        tile=(1, case.groups[0], 1, 1),
    )
    weight_shape = (case.outputs, case.shape[1], case.kernel, case.kernel)
    weight = numerics.quantize(
        exponents_apart(rng, weight_shape, case.spread, case.magnitude),
        mantissa_bits=case.mantissa_bits[1],
        tile=(1, case.groups[1], 1, 1),
    )
    bias = exponents_apart(rng, (case.outputs,), 0, 2 * case.magnitude)
    conv = numerics.block_conv(
        x, weight, bias, stride=(case.stride,) * 2, pads=(case.pad,) * 4, dilation=(1, 1), group=1
    )
    expected = numerics.relu(conv)
    quantized = numerics.quantize(expected, mantissa_bits=8, tile=(1, case.result_group, 1, 1))
    return ConvProgram(_conv_stream(case, x, weight, bias, expected.shape), expected, quantized)


def _conv_stream(
    case: ConvCase,
    x: numerics.BlockTensor,
    weight: numerics.BlockTensor,
    bias: Array,
    result_shape: tuple[int, ...],
) -> Stream:
    n, c, h, w = case.shape
    _, o, oh, ow = result_shape
    a_format, b_format = (MANTISSA_FORMATS[bits] for bits in case.mantissa_bits)
    a_bits, b_bits = case.mantissa_bits
    a_group, b_group = case.groups
    kernel, kt, pt, ot = case.kernel, case.k_tile, case.p_tile, case.o_tile
    last = (0, 2, 3, 1)
    dram = Dram()
    x_mantissa = dram.filled(a_format, x.mantissa, last)
    x_exponent = dram.filled(Format.E8, x.exponent, last)
    w_mantissa = dram.filled(b_format, weight.mantissa, last)
    w_exponent = dram.filled(Format.E8, weight.exponent, last)
    bias_plane = dram.filled(Format.F32, bias, (0,))
    y_plane = dram.plane(Format.F32, result_shape, last)
    q_mantissa = dram.plane(Format.M8, result_shape, last)
    groups = -(-o // case.result_group)
    q_exponent = dram.plane(Format.E8, (n, groups, oh, ow), last)

    rows = (pt - 1) * case.stride + kernel
    columns = (ow - 1) * case.stride + kernel
    a_groups, b_groups = -(-kt // a_group), -(-kt // b_group)
    x_pixel, w_tap = -(-kt * a_bits // 8) * 8, -(-kt * b_bits // 8) * 8
    acc_size = n * pt * ow * ot * 4
    staging_groups = 2 * ot // case.result_group
    staging = n * 2 * pt * ow * 2 * ot

    records = RecordList()
    planes = (x_mantissa, x_exponent, w_mantissa, w_exponent, bias_plane, y_plane, q_mantissa, q_exponent)
    for slot, plane in enumerate(planes):
        records.append(declare_plane(slot, plane, keep=slot < 5))
    xm, xe, wm, we, bs, acc, sm, se = range(8, 16)
    x_size, xe_size = n * rows * columns * x_pixel // 8, n * rows * columns * a_groups
    w_size, we_size = ot * kernel**2 * w_tap // 8, ot * kernel**2 * b_groups
    on_chip = [
        (xm, Space.OPERAND, 0, x_size, 2, True),
        (xe, Space.OPERAND, 2 * x_size, xe_size, 2, True),
        (wm, Space.HELD, 0, w_size, 2, True),
        (we, Space.HELD, 2 * w_size, we_size, 2, True),
        (bs, Space.HELD, 2 * (w_size + we_size), 4 * ot, 1, True),
        (acc, Space.PSUM, 0, acc_size, 2, True),
        (sm, Space.PSUM, 2 * acc_size, staging, 2, False),
        (se, Space.PSUM, 2 * acc_size + 2 * -(-staging // 4), staging // case.result_group, 2, False),
    ]
    for slot, space, address, size, depth, per_core in on_chip:
        records.append(declare(slot, space, address, size, depth=depth, per_core=per_core))
    grid = (1, 2, 2)
    chip_p, chip_o = 2 * pt, 2 * ot
    dim_n = Dim(n, limit=n)

    def over_k(count: int, group: int, limit: int) -> Dim:
        return Dim(count, limit=limit, loop=levels(k=kt // group))

    def x_dims(k: Dim) -> list[Dim]:
        row = Dim(rows, -case.pad, 1, h, levels(p=chip_p * case.stride), core=(0, pt * case.stride, 0))
        return [dim_n, row, Dim(columns, -case.pad, 1, w), k]

    def w_dims(k: Dim) -> list[Dim]:
        dim_o = Dim(ot, limit=o, loop=levels(o=chip_o), core=(0, 0, ot))
        return [dim_o, Dim(kernel, limit=kernel), Dim(kernel, limit=kernel), k]

    def from_plane(slot: int, plane: SymbolPlane, order: tuple[int, ...] = last) -> Operand:
        return Operand(slot, plane.format, GLOBAL, tuple(plane.stride_bits[d] for d in order))

    def load(dst: Operand, src: Operand, dims: list[Dim]) -> None:
        records.append(Record(Opcode.LOAD, dims=dims, operands=(dst, src), core_grid=grid))

    def loop(count: int) -> None:
        records.append(Record(Opcode.LOOP, count=count))

    def next_buffer(*slots: int) -> None:
        for slot in slots:
            records.append(Record(Opcode.NEXT, slot=slot))

    loop(-(-o // chip_o))
    load(
        Operand(bs, Format.F32, LOCAL, (32,)),
        from_plane(4, bias_plane, (0,)),
        [Dim(ot, limit=o, loop=levels(o=chip_o), core=(0, 0, ot))],
    )
    loop(-(-oh // chip_p))
    next_buffer(acc)
    loop(-(-c // kt))
    next_buffer(xm, xe, wm, we)
    x_strides = (rows * columns * x_pixel, columns * x_pixel, x_pixel, a_bits)
    xe_strides = (rows * columns * a_groups * 8, columns * a_groups * 8, a_groups * 8, 8)
    w_strides = (kernel**2 * w_tap, kernel * w_tap, w_tap, b_bits)
    we_strides = (kernel**2 * b_groups * 8, kernel * b_groups * 8, b_groups * 8, 8)
    load(Operand(xm, a_format, LOCAL, x_strides), from_plane(0, x_mantissa), x_dims(over_k(kt, 1, c)))
    load(
        Operand(xe, Format.E8, LOCAL, xe_strides),
        from_plane(1, x_exponent),
        x_dims(over_k(a_groups, a_group, x.exponent.shape[1])),
    )
    load(Operand(wm, b_format, LOCAL, w_strides), from_plane(2, w_mantissa), w_dims(over_k(kt, 1, c)))
    load(
        Operand(we, Format.E8, LOCAL, we_strides),
        from_plane(3, w_exponent),
        w_dims(over_k(b_groups, b_group, weight.exponent.shape[1])),
    )

    def outputs(k: Dim) -> list[Dim]:
        return [
            Dim(1, limit=1),
            dim_n,
            Dim(pt, limit=oh, loop=levels(p=chip_p), core=(0, pt, 0)),
            Dim(ow, limit=ow),
            Dim(ot, limit=o, loop=levels(o=chip_o), core=(0, 0, ot)),
            k,
            Dim(kernel, limit=kernel),
            Dim(kernel, limit=kernel),
        ]

    def named(slot: int, fmt: Format, addressing: Addressing, **strides: int) -> Operand:
        return Operand(slot, fmt, addressing, tuple(strides.get(dim, 0) for dim in COMPUTE_DIMS))

    acc_strides = {"n": pt * ow * ot * 32, "p": ow * ot * 32, "q": ot * 32, "o": 32}

    def x_operand(slot: int, fmt: Format, strides: tuple[int, ...]) -> Operand:
        image, row, column, k = strides
        step = case.stride
        return named(slot, fmt, LOCAL, n=image, p=step * row, q=step * column, k=k, r=row, s=column)

    def w_operand(slot: int, fmt: Format, strides: tuple[int, ...]) -> Operand:
        return named(slot, fmt, LOCAL, o=strides[0], r=strides[1], s=strides[2], k=strides[3])

    acc_operand = named(acc, Format.F32, LOCAL, **acc_strides)
    records.append(
        Record(
            Opcode.COMPUTE,
            dims=outputs(Dim(kt, limit=c, loop=levels(k=kt))),
            operands=(
                acc_operand,
                x_operand(xm, a_format, x_strides),
                x_operand(xe, Format.E8, xe_strides),
                w_operand(wm, b_format, w_strides),
                w_operand(we, Format.E8, we_strides),
            ),
            core_grid=grid,
            a_group=a_group,
            b_group=b_group,
            a_axis=(0, 1),
            b_axis=(0, 1),
            init_loops=4,
            stream=1 if a_bits > b_bits else 0,
            lane=(5, 4),
            unit=(4, LANES_AND_UNITS[min(a_bits, b_bits), max(a_bits, b_bits)][1]),
            pe=((1, 5, 3), (2, 4, 3)),
        )
    )
    records.append(Record(Opcode.END))
    result_dims = [
        dim_n,
        Dim(pt, limit=oh, loop=levels(p=chip_p), core=(0, pt, 0)),
        Dim(ow, limit=ow),
        Dim(ot, limit=o, loop=levels(o=chip_o), core=(0, 0, ot)),
    ]
    acc_4 = Operand(acc, Format.F32, LOCAL, tuple(acc_strides.values()))
    bias_4 = Operand(bs, Format.F32, LOCAL, (0, 0, 0, 32))
    records.append(
        Record(Opcode.VECTOR, dims=result_dims, operands=(acc_4, acc_4, bias_4), function=1, core_grid=grid)
    )
    records.append(
        Record(Opcode.VECTOR, dims=result_dims, operands=(acc_4, acc_4), function=12, core_grid=grid)
    )
    next_buffer(sm, se)
    staging_m = Operand(
        sm, Format.M8, CHIP, tuple(8 * s for s in (chip_p * ow * chip_o, ow * chip_o, chip_o, 1))
    )
    staging_e = Operand(
        se,
        Format.E8,
        CHIP,
        tuple(8 * s for s in (chip_p * ow * staging_groups, ow * staging_groups, staging_groups, 1)),
    )
    records.append(
        Record(
            Opcode.CONVERT,
            dims=result_dims,
            operands=(staging_m, staging_e, acc_4, None),
            axis=3,
            a_group=case.result_group,
            core_grid=grid,
        )
    )
    whole = [
        dim_n,
        Dim(chip_p, limit=oh, loop=levels(p=chip_p)),
        Dim(ow, limit=ow),
        Dim(chip_o, limit=o, loop=levels(o=chip_o)),
    ]
    whole_groups = [*whole[:3], Dim(staging_groups, limit=groups, loop=levels(o=staging_groups))]

    def store(dst: Operand, src: Operand, dims: list[Dim], cores: tuple[int, ...]) -> None:
        records.append(Record(Opcode.STORE, dims=dims, operands=(dst, src), core_grid=cores))

    store(from_plane(5, y_plane), acc_4, result_dims, grid)
    store(from_plane(6, q_mantissa), staging_m, whole, (1, 1, 1))
    store(from_plane(7, q_exponent), staging_e, whole_groups, (1, 1, 1))
    records.append(Record(Opcode.END))
    records.append(Record(Opcode.END))
    end = len(records)
    records.append(Record(Opcode.HALT))
    tile = (1, case.result_group, 1, 1)
    symbols = (
        Symbol("w", "weight", weight.shape, (w_mantissa, w_exponent), 0, (1, b_group, 1, 1), b_bits),
        Symbol("q", "intermediate", result_shape, (q_mantissa, q_exponent), end, tile, 8),
        Symbol("y", "output", result_shape, (y_plane,), end),
    )
    return Stream(records.array(), symbols, tuple(dram.initial), MACHINE, (GroupRange(0, "conv", 16, end),))
