"""Window attributes that Conv and the poolings share: stride, dilation, and padding in all its spellings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flexc.importer.node import Node
from flexc.ir.shapes import Shape

_LARGEST = 2**20
_AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True)
class WindowAttributes:
    """One value a spatial dimension; ``pads`` holds the begins, then the ends."""

    stride: Shape
    pads: Shape
    dilation: Shape


def window_attributes(node: Node, size: Shape, kernel: Shape) -> WindowAttributes:
    """The attributes of a window of ``kernel`` over spatial extents ``size``, ``auto_pad`` resolved.

    CompileError FX202 for lists of another length, or for pads beside an auto_pad.
    """
    rank = len(size)
    stride = node.integers("strides", (1,) * rank)
    dilation = node.integers("dilations", (1,) * rank)
    pads = node.integers("pads", (0,) * (2 * rank))
    for name, found, wanted in (
        ("strides", stride, rank),
        ("dilations", dilation, rank),
        ("pads", pads, 2 * rank),
        ("kernel_shape", kernel, rank),
    ):
        if len(found) != wanted:
            raise node.error(
                "FX202",
                f"attribute '{name}' has {len(found)} values, but {wanted} are needed",
                detail=f"{found}",
            )
    if not all(1 <= value <= _LARGEST for value in (*stride, *dilation)) or max(pads) > _LARGEST:
        raise node.error(
            "FX202",
            f"strides {list(stride)}, dilations {list(dilation)}, pads {list(pads)}",
            hint=f"strides and dilations lie between 1 and {_LARGEST}, pads between 0 and {_LARGEST}",
        )
    auto_pad = node.text("auto_pad", _AUTO_PADS, "NOTSET")
    if auto_pad == "NOTSET":
        return WindowAttributes(stride, pads, dilation)
    if any(pads):
        raise node.error("FX202", f"attributes 'pads' and 'auto_pad' ({auto_pad}) exclude each other")
    if auto_pad != "VALID":
        pads = _same_pads(size, kernel, stride, dilation, lower=auto_pad == "SAME_LOWER")
    return WindowAttributes(stride, pads, dilation)


def _same_pads(
    size: Shape, kernel: Sequence[int], stride: Shape, dilation: Shape, *, lower: bool
) -> tuple[int, ...]:
    """Pads that give ceil(size / stride) positions; an odd one goes to the end, or with ``lower`` first."""
    begins, ends = [], []
    for extent, taps, step, spread in zip(size, kernel, stride, dilation, strict=True):
        positions = -(-extent // step)
        total = max((positions - 1) * step + (taps - 1) * spread + 1 - extent, 0)
        begin = total - total // 2 if lower else total // 2
        begins.append(begin)
        ends.append(total - begin)
    return (*begins, *ends)
