"""Graphs of one gradient on quantized operands, and inputs that tell orders of summation apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from flexc.ir import window_shapes
from flexc.ir.program import Graph, parse_module
from flexc.ir.shapes import TensorSpec
from flexc.precision import tiles

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Convolution:
    """A convolution by what its gradients need to know."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: tuple[int, ...]
    pads: tuple[int, ...]
    dilation: tuple[int, ...]
    group: int = 1

    @property
    def y(self) -> tuple[int, ...]:
        """The shape of the result; ShapeError where there is none."""
        return window_shapes.conv(
            TensorSpec(self.x),
            TensorSpec(self.w),
            stride=self.stride,
            pads=self.pads,
            dilation=self.dilation,
            group=self.group,
        ).shape


def local_grad_graph(conv: Convolution, bits: tuple[int, int], group_length: int) -> Graph:
    """``bfp.conv_local_grad`` of quantized g and w."""
    w_tile = tiles.conv_local_grad_weight_tile(conv.w, group_length)
    g_tile = tiles.conv_input_tile(len(conv.y), group_length)
    return _graph(conv, "local", (conv.y, g_tile), ("w", conv.w, w_tile), conv.x, bits)


def weight_grad_graph(conv: Convolution, bits: tuple[int, int], group_length: int) -> Graph:
    """``bfp.conv_weight_grad`` of quantized g and x."""
    tile = tiles.conv_weight_grad_tile(len(conv.x), group_length)
    return _graph(conv, "weight", (conv.y, tile), ("x", conv.x, tile), conv.w, bits)


def _graph(
    conv: Convolution,
    which: str,
    g: tuple[tuple[int, ...], tuple[int, ...]],
    other: tuple[str, tuple[int, ...], tuple[int, ...]],
    out: tuple[int, ...],
    bits: tuple[int, int],
) -> Graph:
    g_type, other_type = tensor_text(g[0]), tensor_text(other[1])
    g_block, other_block = block_text(*g, bits[0]), block_text(other[1], other[2], bits[1])
    rounding = 'rounding = "nearest", seed = 0 : i64'
    text = f"""func.func @main(%g: {g_type}, %o: {other_type}) -> {tensor_text(out)} attributes
  {{inputs = ["g", "{other[0]}"], outputs = ["out"]}} {{
  %a = bfp.quantize %g {{{rounding}, stream = 0 : i64}} : {g_type} -> {g_block}
  %b = bfp.quantize %o {{{rounding}, stream = 1 : i64}} : {other_type} -> {other_block}
  %out = bfp.conv_{which}_grad %a, %b {{{_attributes(conv)}}} :
    {g_block}, {other_block} -> {tensor_text(out)}
  func.return %out : {tensor_text(out)}
}}"""
    return Graph(parse_module(text))


def fp32_gradient_graph(conv: Convolution, which: str) -> Graph:
    """``nn.conv_local_grad`` or ``nn.conv_weight_grad`` (``which``: local, weight) of g and w or x."""
    name, other, out = ("w", conv.w, conv.x) if which == "local" else ("x", conv.x, conv.w)
    g_type, other_type = tensor_text(conv.y), tensor_text(other)
    text = f"""func.func @main(%g: {g_type}, %{name}: {other_type}) -> {tensor_text(out)} attributes
  {{inputs = ["g", "{name}"], outputs = ["out"]}} {{
  %out = nn.conv_{which}_grad %g, %{name} {{{_attributes(conv)}}} :
    {g_type}, {other_type} -> {tensor_text(out)}
  func.return %out : {tensor_text(out)}
}}"""
    return Graph(parse_module(text))


def _attributes(conv: Convolution) -> str:
    names = ", ".join(
        f"{name} = array<i64: {', '.join(map(str, values))}>"
        for name, values in (("stride", conv.stride), ("pads", conv.pads), ("dilation", conv.dilation))
    )
    return f"{names}, group = {conv.group} : i64"


def tensor_text(shape: Sequence[int], element: str = "f32") -> str:
    """The type of a plain tensor."""
    return f"tensor<{''.join(f'{extent}x' for extent in shape)}{element}>"


def block_text(shape: Sequence[int], tile: Sequence[int], bits: int) -> str:
    """The type of a block tensor, its tile cut to its shape."""
    cut = [min(pair) for pair in zip(tile, shape, strict=True)]
    return f"!bfp.tensor<{'x'.join(map(str, shape))}, m{bits}, tile {cut}>"


def spread(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """fp32 numbers with exponents up to 24 apart."""
    return (rng.standard_normal(shape) * np.exp2(rng.integers(-12, 13, shape))).astype(np.float32)
