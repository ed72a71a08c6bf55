"""Resize and Upsample: nearest becomes a gather an axis, linear a blend of two gathers an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from flexc.importer.limits import require_computed_fits
from flexc.importer.node import Node
from flexc.importer.operators.registry import Family
from flexc.importer.values import Value
from flexc.ir import nn
from flexc.ir.shapes import ShapeError, normalize_axis

Positions = NDArray[np.float32]
_LARGEST_SCALE = 2.0**20
_HALF = np.float32(0.5)

_NEAREST: dict[str, Callable[[Positions], Positions]] = {
    "round_prefer_floor": lambda position: np.ceil(position - _HALF),
    "round_prefer_ceil": lambda position: np.floor(position + _HALF),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _source_positions(mode: str, scale: np.float32, before: int, after: int) -> Positions:
    """Where each of ``after`` output positions lies in the input of extent ``before``, in fp32."""
    position = np.arange(after, dtype=np.float32)
    if mode == "asymmetric":
        return position / scale
    if mode == "tf_half_pixel_for_nn":
        return (position + _HALF) / scale
    if mode == "align_corners":
        return (
            np.zeros_like(position)
            if after == 1
            else position * np.float32(before - 1) / np.float32(after - 1)
        )
    if mode == "pytorch_half_pixel" and after == 1:
        return np.zeros_like(position)
    centred = (position + _HALF) / scale - _HALF
    if mode == "half_pixel_symmetric":
        exact = np.float32(before) * scale
        return centred + np.float32(before) / 2 * (1 - np.float32(after) / exact)
    return centred


_MODES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
)


def _upsample_attribute(node: Node) -> tuple[Value, ...]:
    scales = [np.float32(scale) for scale in node.numbers("scales")]
    return _resample_simply(node, _usable(node, scales))


def _resample_operand(node: Node) -> tuple[Value, ...]:
    return _resample_simply(node, _scales(node, 1))


def _resample_simply(node: Node, scales: Sequence[np.float32]) -> tuple[Value, ...]:
    """Before opset 11: positions divided by the scale; nearest rounds down, or up where the axis shrinks."""
    x = node.operand(0)
    linear = node.text("mode", ("nearest", "linear"), "nearest") == "linear"
    _require_count(node, "scales", len(scales), x.spec.rank)
    for axis, (after, scale) in enumerate(zip(_scaled(x.spec.shape, scales), scales, strict=True)):
        rounding = "ceil" if scale < 1 else "floor"
        x = _resample_axis(node, x, axis, after, scale, "asymmetric", None if linear else rounding)
    return (x,)


def _resize(node: Node) -> tuple[Value, ...]:
    x = node.operand(0)
    # The region of interest matters to tf_crop_and_resize alone, which is refused; so do the others to cubic.
    node.optional_operand(1)
    node.ignore("cubic_coeff_a", "exclude_outside", "extrapolation_value")
    linear = node.text("mode", ("nearest", "linear"), "nearest") == "linear"
    mode = node.text("coordinate_transformation_mode", _MODES, "half_pixel")
    rounding = node.text("nearest_mode", tuple(_NEAREST), "round_prefer_floor")
    if node.flag("antialias"):
        raise node.error("FX205", "resizing with antialias is not supported")
    node.text("keep_aspect_ratio_policy", ("stretch",), "stretch")
    axes = [_axis(node, axis, x) for axis in node.integers("axes", range(x.spec.rank))]
    sizes, scales = _sizes_and_scales(node, x, axes)
    for axis, after, scale in sorted(zip(axes, sizes, scales, strict=True)):
        x = _resample_axis(node, x, axis, after, scale, mode, None if linear else rounding)
    return (x,)


def _axis(node: Node, axis: int, x: Value) -> int:
    try:
        return normalize_axis(axis, x.spec.rank)
    except ShapeError as refusal:
        raise node.refused(refusal) from refusal


def _sizes_and_scales(node: Node, x: Value, axes: Sequence[int]) -> tuple[list[int], list[np.float32]]:
    extents = [x.spec.shape[axis] for axis in axes]
    # Either operand may be present and empty to say that the other one counts.
    sizes = () if node.optional_operand(3) is None else node.integer_operand(3, "the sizes")
    if sizes:
        node.optional_operand(2)
        _require_count(node, "sizes", len(sizes), len(axes))
        return list(sizes), [
            np.float32(after) / np.float32(before) for after, before in zip(sizes, extents, strict=True)
        ]
    scales = _scales(node, 2)
    _require_count(node, "scales", len(scales), len(axes))
    return _scaled(extents, scales), scales


def _scaled(extents: Sequence[int], scales: Sequence[np.float32]) -> list[int]:
    return [int(np.floor(np.float32(before) * scale)) for before, scale in zip(extents, scales, strict=True)]


def _scales(node: Node, index: int) -> list[np.float32]:
    return _usable(
        node, [np.float32(scale) for scale in node.constant_operand(index, "the scales").reshape(-1)]
    )


def _usable(node: Node, scales: list[np.float32]) -> list[np.float32]:
    if not all(0 < scale < _LARGEST_SCALE for scale in scales):
        listed = ", ".join(str(scale) for scale in scales)
        raise node.error("FX203", f"scales {listed}", hint=f"scales lie between 0 and {_LARGEST_SCALE:.0f}")
    return scales


def _require_count(node: Node, what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise node.error("FX203", f"{found} {what} for {wanted} dimensions")


def _resample_axis(
    node: Node, x: Value, axis: int, after: int, scale: np.float32, mode: str, rounding: str | None
) -> Value:
    """One axis resampled to ``after`` positions; linear without ``rounding``."""
    before = x.spec.shape[axis]
    if after < 1:
        raise node.error("FX203", f"dimension {axis} of extent {before} resized to {after}")
    require_computed_fits((after,), node.place, f"dimension {axis} of the result")
    if after == before and scale == 1:
        return x
    position = _source_positions(mode, scale, before, after)
    if rounding is not None:
        nearest = np.clip(_NEAREST[rounding](position), 0, before - 1).astype(np.int64)
        return _gather(node, x, nearest, axis, "nearest")
    position = np.clip(position, 0, before - 1)
    low = np.floor(position).astype(np.int64)
    return _blend(node, x, axis, low, np.minimum(low + 1, before - 1), position - low.astype(np.float32))


def _blend(
    node: Node, x: Value, axis: int, low: NDArray[np.int64], high: NDArray[np.int64], weight: Positions
) -> Value:
    """``a + (b - a) * weight`` of the elements at ``low`` and ``high``, each operation rounded."""
    a = _gather(node, x, low, axis, "low")
    b = _gather(node, x, high, axis, "high")
    along = tuple(len(weight) if dim == axis else 1 for dim in range(x.spec.rank))
    factor = node.constant(weight.reshape(along), node.inner_name(f"weight{axis}"))
    difference = node.emit(nn.SubOp, b, a, name=node.inner_name(f"difference{axis}"))
    share = node.emit(nn.MulOp, difference, factor, name=node.inner_name(f"share{axis}"))
    return node.emit(nn.AddOp, a, share)


def _gather(node: Node, x: Value, indices: NDArray[np.int64], axis: int, part: str) -> Value:
    name = node.inner_name(f"{part}{axis}")
    return node.emit(nn.GatherOp, x, node.constant(indices, f"{name}_indices"), axis=axis, name=name)


RESAMPLING: Family = {
    "Resize": {10: _resample_operand, 11: _resize},
    "Upsample": {7: _upsample_attribute, 9: _resample_operand, 10: None},
}
