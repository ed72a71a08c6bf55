"""The contraction problem of an op of the ``bfp`` dialect, or why it has none."""

from __future__ import annotations

from math import prod
from typing import TypeAlias

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation

from flexc.diagnostics import CompileError, error
from flexc.ir.attributes import place_of
from flexc.ir.bfp import BlockTensorType, ConvOp, MatMulOp
from flexc.mapping.problem import ContractionProblem
from flexc.numerics.block_float import Sign
from flexc.target.machine import MANTISSA_WIDTHS

ContractionOp: TypeAlias = ConvOp | MatMulOp

ON_THE_EXECUTOR = "it runs on the executor only"


def problem_of(op: ContractionOp, output_group: int | None = None) -> ContractionProblem:
    """The loops of a quantized contraction; ``output_group`` as in :class:`ContractionProblem`.

    Raises :class:`CompileError` for what no machine maps: a sign apart from the mantissa (FX414), other
    mantissa widths than 4, 8 and 16 bits (FX411), groups that a window splits or that do not lie along the
    reduced axis (FX415), and convolutions of three spatial dimensions (FX416).
    """
    if isinstance(op, ConvOp):
        return _conv_problem(op, output_group)
    return _matmul_problem(op, output_group)


def _conv_problem(op: ConvOp, output_group: int | None) -> ContractionProblem:
    x, w = block_operand(op, op.x.type), block_operand(op, op.w.type)
    x_shape, w_shape = x.get_shape(), w.get_shape()
    if len(x_shape) > 4:
        raise cannot_map(
            op,
            "FX416",
            f"a convolution of {len(x_shape) - 2} spatial dimensions",
            "one or two spatial dimensions map",
        )
    out_shape = _shape(op.out.type)
    groups = int(op.group.value.data)
    (x_n, a_group, *x_window), (w_o, b_group, *w_window) = x.get_tile(), w.get_tile()
    depthwise = groups == x_shape[1]
    whole_filter = depthwise and tuple(w_window) == w_shape[2:] and prod(w_window) > 1
    if x_n > 1 or prod(x_window) > 1 or w_o > 1 or (prod(w_window) > 1 and not whole_filter):
        raise cannot_map(
            op,
            "FX415",
            f"groups of {list(x.get_tile())} in x and {list(w.get_tile())} in w",
            "groups of channels [1, G, 1, 1] map, and whole filters [1, 1, R, S] of a depthwise convolution",
        )
    rows_missing = (1,) * (4 - len(x_shape))
    p, q = rows_missing + out_shape[2:]
    r, s = rows_missing + w_shape[2:]
    height, width = rows_missing + x_shape[2:]
    stride_h, stride_w = rows_missing + tuple(op.stride.get_values())
    dilation_h, dilation_w = rows_missing + tuple(op.dilation.get_values())
    pads = tuple(op.pads.get_values())
    top, left, bottom, right = pads if len(pads) == 4 else (0, pads[0], 0, pads[1])
    return ContractionProblem(
        kind="depthwise" if depthwise else "conv",
        extents=(groups, x_shape[0], p, q, w_shape[0] // groups, w_shape[1], r, s),
        a_bits=x.mantissa_bits.data,
        b_bits=w.mantissa_bits.data,
        a_group=a_group,
        b_group=prod(w_window) if whole_filter else b_group,
        a_group_dim="g" if depthwise else "k",
        b_group_dim="window" if whole_filter else "k",
        stride=(stride_h, stride_w),
        dilation=(dilation_h, dilation_w),
        input_extents=(height, width),
        pads=(top, left, bottom, right),
        output_group=output_group,
    )


def _matmul_problem(op: MatMulOp, output_group: int | None) -> ContractionProblem:
    a, b = block_operand(op, op.a.type), block_operand(op, op.b.type)
    a_shape, b_shape, out_shape = a.get_shape(), b.get_shape(), _shape(op.out.type)
    (*a_outer, a_group), (*b_outer, b_group, b_column) = a.get_tile(), b.get_tile()
    if prod(a_outer) > 1 or prod(b_outer) > 1 or b_column > 1:
        raise cannot_map(
            op,
            "FX415",
            f"groups of {list(a.get_tile())} in the left matrix and {list(b.get_tile())} in the right one",
            "groups along the contracted axis map",
        )
    batch, rows = prod(out_shape[:-2]), out_shape[-2]
    if prod(b_shape[:-2]) == 1:
        batch, rows = 1, batch * rows
    return ContractionProblem(
        kind="matmul",
        extents=(batch, 1, rows, 1, out_shape[-1], a_shape[-1], 1, 1),
        a_bits=a.mantissa_bits.data,
        b_bits=b.mantissa_bits.data,
        a_group=a_group,
        b_group=b_group,
        output_group=output_group,
    )


def block_operand(op: Operation, found: object) -> BlockTensorType:
    """The type of an operand of ``op``; CompileError FX411 or FX414 for one that no machine maps."""
    assert isinstance(found, BlockTensorType)
    if found.sign.data != Sign.INCLUDED:
        raise cannot_map(
            op, "FX414", "an operand with a separate sign", "mantissas that include the sign map"
        )
    if found.mantissa_bits.data not in MANTISSA_WIDTHS:
        raise cannot_map(
            op, "FX411", f"an operand of {found.mantissa_bits.data} mantissa bits", "4, 8 and 16 bits map"
        )
    return found


def _shape(found: object) -> tuple[int, ...]:
    assert isinstance(found, TensorType)
    return tuple(found.get_shape())


def cannot_map(op: Operation, code: str, what: str, hint: str) -> CompileError:
    """The error for what no machine maps."""
    operands = " x ".join(str(operand.type) for operand in op.operands[:2])
    return error(
        code,
        f"no mapping onto the machine for {what}",
        place=place_of(op),
        detail=operands,
        hint=f"{hint}; {ON_THE_EXECUTOR}",
    )
