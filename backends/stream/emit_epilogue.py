"""What follows the sums of a contraction: normalization, activation, conversion, stores.

The same records serve the accumulators of the cores (``local``) and the striped tiles of vector groups.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from xdsl.ir import Attribute

from flexc.backends.stream.emit_program import FORMATS, ONE_CORE, Frame, Program
from flexc.backends.stream.isa import NO_SLOT, Addressing, Format, Opcode, Rounding
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.ir import lightnorm
from flexc.ir.attributes import literal
from flexc.numerics.block_float import Rounding as RoundingName
from flexc.passes.scheduling.layout import NORM_TABLE_ROWS, natural_order, pack
from flexc.passes.scheduling.stages import Stage
from flexc.passes.scheduling.vector_functions import VectorFunction, activation_function

ROUNDINGS: dict[str, Rounding] = {
    RoundingName.NEAREST: Rounding.NEAREST,
    RoundingName.TRUNCATE: Rounding.TRUNCATE,
    RoundingName.STOCHASTIC: Rounding.STOCHASTIC,
}


def emit_norm(
    program: Program,
    dims: Sequence[Dim],
    axis: int,
    rounding: str,
    operands: Sequence[Operand],
    *,
    grid: tuple[int, ...] = ONE_CORE,
) -> None:
    """LightNorm of a box: operands dst, x, mean, scale, gamma_q, beta; channels along dimension ``axis``."""
    program.records.append(
        Record(Opcode.NORM, dims, operands, function=ROUNDINGS[rounding], axis=axis, core_grid=grid)
    )


def norm_rows(table: Operand, row_pitch_bits: int) -> tuple[Operand, ...]:
    """The operands mean, scale, gamma_q and beta in a LightNorm's table of constants."""
    return tuple(replace(table, offset=row * row_pitch_bits) for row in range(NORM_TABLE_ROWS))


def fused_activation(op: lightnorm.InferOp) -> VectorFunction | None:
    """The function that follows the norm in ``op``."""
    parameters = literal(op.activation_parameters)
    assert isinstance(parameters, tuple)
    return activation_function(op.activation.data, tuple(float(one) for one in parameters))


def emit_stage(
    program: Program,
    frame: Frame,
    stage: Stage,
    registers: tuple[int, int],
    keys: Sequence[Hashable],
    dims: Sequence[Dim],
    source: Operand,
    positions: Sequence[int],
) -> None:
    """Quantizes the box ``dims`` of ``source`` and stores mantissas and exponents.

    ``keys`` name the dimensions of the box as the stage's tiles do; ``positions`` are the strides of
    the flat C-order index along them.
    """
    mantissa_plane, exponent_plane = program.placements[stage.op.out].planes
    tiles = (stage.mantissa, stage.exponent)
    formats = (FORMATS[mantissa_plane.format], Format.E8)
    staged = tuple(
        Operand(register, fmt, Addressing.CHIP, tile.strides_along(keys))
        for register, fmt, tile in zip(registers, formats, tiles, strict=True)
    )
    rounding = ROUNDINGS[stage.op.rounding.data]
    random = rounding is Rounding.STOCHASTIC
    position = Operand(NO_SLOT, Format.F32, Addressing.LOCAL, tuple(positions) if random else ())
    program.records.append(
        Record(
            Opcode.CONVERT,
            dims,
            (*staged, source, position, _step(program, stage, len(dims))),
            function=rounding,
            axis=list(keys).index(stage.axis),
            core_grid=frame.grid,
            a_group=stage.group,
            seed=_word(stage.op.seed) if random else 0,
            stream_number=_word(stage.op.stream) if random else 0,
        )
    )
    for register, fmt, tile, plane in zip(
        registers, formats, tiles, (mantissa_plane, exponent_plane), strict=True
    ):
        program.store(
            [frame.chip_dim(axis) for axis in tile.axes],
            program.dram(plane, (axis.stride_bits for axis in tile.axes)),
            Operand(register, fmt, Addressing.CHIP, tile.pitches),
        )


def _step(program: Program, stage: Stage, dims: int) -> Operand | None:
    """The number of the training step, where the stage's random bits differ from step to step."""
    if stage.op.step is None:
        return None
    (plane,) = program.placements[stage.op.step].planes
    return program.dram(plane, (0,) * dims)


def _word(attribute: Attribute) -> int:
    """An integer attribute as an unsigned word of 32 bits."""
    value = literal(attribute)
    assert isinstance(value, int)
    return value & 0xFFFFFFFF


def element_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The flat C-order index's stride along each logical dimension, in elements."""
    plane = pack(shape, natural_order(len(shape)), "e8")
    return tuple(stride // 8 for stride in plane.strides_bits)
