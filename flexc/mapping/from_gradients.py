"""The contraction problems of the gradient ops of the ``bfp`` dialect."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TypeAlias

from flexc.diagnostics import CompileError
from flexc.ir.bfp import BlockTensorType, ConvLocalGradOp, ConvWeightGradOp
from flexc.mapping.from_ir import block_operand, cannot_map
from flexc.mapping.gradients import OperandGroups, local_grad_problems, weight_grad_problem
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.window import Window, window_of

ConvGradientOp: TypeAlias = ConvLocalGradOp | ConvWeightGradOp


def forward_problem(op: ConvGradientOp) -> ContractionProblem:
    """The loops of the convolution that ``op`` is a gradient of; its formats and groups mean nothing."""
    return forward_of_window(window_of(op))


def forward_of_window(window: Window) -> ContractionProblem:
    """As :func:`forward_problem`, from the convolution's window."""
    return ContractionProblem(
        kind="depthwise" if window.groups == window.channels else "conv",
        extents=(
            window.groups,
            window.images,
            *window.output_extents,
            window.outputs // window.groups,
            window.channels // window.groups,
            *window.taps,
        ),
        a_bits=8,
        b_bits=8,
        a_group=1,
        b_group=1,
        stride=window.stride,
        dilation=window.dilation,
        input_extents=window.input_extents,
        pads=window.pads,
    )


def gradient_problems(op: ConvGradientOp) -> tuple[ContractionProblem, ...]:
    """The contractions that make up ``op``: one, or one for each phase of a strided local gradient.

    Raises as :func:`~flexc.mapping.from_ir.problem_of`.
    """
    left, right = (block_operand(op, operand.type) for operand in op.operands)
    if len(left.get_shape()) > 4:
        raise cannot_map(
            op,
            "FX416",
            f"a convolution of {len(left.get_shape()) - 2} spatial dimensions",
            "one or two spatial dimensions map",
        )
    if isinstance(op, ConvWeightGradOp):
        return (_weight_grad(op, left, right),)
    return _local_grad(op, left, right)


def _weight_grad(op: ConvWeightGradOp, g: BlockTensorType, x: BlockTensorType) -> ContractionProblem:
    if any(prod(one.get_tile()[1:]) > 1 for one in (g, x)):
        raise _wrong_groups(op, "groups of images [G, 1, 1, 1] map")
    return weight_grad_problem(forward_problem(op), _groups(x, 0), _groups(g, 0))


def _local_grad(
    op: ConvLocalGradOp, g: BlockTensorType, w: BlockTensorType
) -> tuple[ContractionProblem, ...]:
    forward = forward_problem(op)
    window = w.get_tile()[2:]
    whole_filter = forward.kind == "depthwise" and window == w.get_shape()[2:] and prod(window) > 1
    g_images, _, *g_window = g.get_tile()
    if g_images > 1 or prod(g_window) > 1 or w.get_tile()[1] > 1 or (prod(window) > 1 and not whole_filter):
        raise _wrong_groups(
            op,
            "groups of channels [1, G, 1, 1] and of filters [G, 1, 1, 1] map, and whole filters [1, 1, R, S] "
            "of a depthwise convolution",
        )
    if not whole_filter:
        return local_grad_problems(forward, _groups(g, 1), _groups(w, 0))
    # With several filters a channel, each is a group of its own on the reduced axis.
    depthwise = forward.extent("o") == 1
    of_filter = OperandGroups(w.mantissa_bits.data, prod(window) if depthwise else 1)
    return local_grad_problems(replace(forward, b_group_dim="window"), _groups(g, 1), of_filter)


def _groups(block: BlockTensorType, axis: int) -> OperandGroups:
    return OperandGroups(block.mantissa_bits.data, block.get_tile()[axis])


def _wrong_groups(op: ConvGradientOp, hint: str) -> CompileError:
    tiles = " and ".join(
        str(list(operand.type.get_tile()))
        for operand in op.operands
        if isinstance(operand.type, BlockTensorType)
    )
    return cannot_map(op, "FX415", f"groups of {tiles}", hint)
