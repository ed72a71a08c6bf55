"""The window of a convolution, read from a gradient of it: one-dimensional ones have one row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from flexc.ir import bfp, nn
from flexc.ir.tensor_op import spec_of

GradientOp: TypeAlias = bfp.ConvLocalGradOp | bfp.ConvWeightGradOp | nn.ConvLocalGradOp | nn.ConvWeightGradOp
Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A convolution of x [images, channels, input_extents] with filters of ``taps``, rows before columns."""

    groups: int
    images: int
    channels: int
    outputs: int
    input_extents: Pair
    output_extents: Pair
    taps: Pair
    stride: Pair
    dilation: Pair
    pads: tuple[int, int, int, int]


def window_of(op: GradientOp) -> Window:
    """The window of the convolution that ``op`` is a gradient of, of one or two spatial dimensions."""
    if isinstance(op, bfp.ConvLocalGradOp | nn.ConvLocalGradOp):
        x, w = spec_of(op.out.type).shape, spec_of(op.w.type).shape
    else:
        x, w = spec_of(op.x.type).shape, spec_of(op.out.type).shape
    g = spec_of(op.g.type).shape
    pads = tuple(op.pads.get_values())
    top, left, bottom, right = pads if len(pads) == 4 else (0, pads[0], 0, pads[1])
    return Window(
        groups=int(op.group.value.data),
        images=x[0],
        channels=x[1],
        outputs=w[0],
        input_extents=_pair(x[2:]),
        output_extents=_pair(g[2:]),
        taps=_pair(w[2:]),
        stride=_pair(op.stride.get_values()),
        dilation=_pair(op.dilation.get_values()),
        pads=(top, left, bottom, right),
    )


def _pair(extents: tuple[int, ...]) -> Pair:
    rows, columns = (1, *extents)[-2:]
    return rows, columns
