"""Shape rules of the ops that move a window over the spatial dimensions of [N, C, spatial...]."""

from __future__ import annotations

from collections.abc import Sequence

from flexc.ir.shapes import Shape, ShapeError, TensorSpec, require_float

MAX_SPATIAL_RANK = 3


def conv(
    x: TensorSpec,
    w: TensorSpec,
    bias: TensorSpec | None = None,
    *,
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> TensorSpec:
    """x [N, C, spatial...], w [O, C/group, kernel...], bias [O] -> [N, O, output...]."""
    require_float("a convolution", x, w, bias)
    _require_images(x)
    if w.rank != x.rank:
        raise ShapeError(f"input of rank {x.rank}, but the weight has rank {w.rank}", "both need one rank")
    channels, outputs = x.shape[1], w.shape[0]
    if group < 1 or w.shape[1] * group != channels:
        raise ShapeError(
            f"{channels} input channels, but the weight has {w.shape[1]} x group {group}",
            "weight.shape[1] * group must equal input.shape[1]",
        )
    if outputs % group:
        raise ShapeError(
            f"{outputs} output channels in {group} groups", "weight.shape[0] must divide by group"
        )
    if bias is not None and bias.shape != (outputs,):
        raise ShapeError(f"a bias of shape {list(bias.shape)}, but {outputs} output channels")
    spatial = windows(x.shape[2:], w.shape[2:], stride, pads, dilation)
    return TensorSpec((x.shape[0], outputs, *spatial))


def max_pool(
    x: TensorSpec,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: int,
) -> TensorSpec:
    """x [N, C, spatial...] -> [N, C, output...]."""
    require_float("a pooling", x)
    _require_images(x)
    spatial = windows(x.shape[2:], kernel, stride, pads, dilation, bool(ceil_mode))
    for dim, (begin, end) in enumerate(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True)):
        covered = (kernel[dim] - 1) * dilation[dim] + 1
        if max(begin, end) >= covered:
            raise ShapeError(
                f"pads {begin} and {end} around a window of {covered} in spatial dimension {dim}",
                "a window may not lie in the padding alone",
            )
    return TensorSpec((*x.shape[:2], *spatial))


def average_pool(
    x: TensorSpec,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: int,
    count_include_pad: int,
) -> TensorSpec:
    """As :func:`max_pool`."""
    del count_include_pad
    return max_pool(x, kernel=kernel, stride=stride, pads=pads, dilation=dilation, ceil_mode=ceil_mode)


def windows(
    size: Shape,
    kernel: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool = False,
) -> Shape:
    """Window positions in each spatial dimension; ``pads`` holds the begins, then the ends.

    ShapeError where the attributes do not fit the rank, are out of range, or leave no position.
    """
    rank = len(size)
    if not (len(kernel) == len(stride) == len(dilation) == rank and len(pads) == 2 * rank):
        raise ShapeError(
            f"kernel {list(kernel)}, stride {list(stride)}, dilation {list(dilation)}, pads {list(pads)} "
            f"for {rank} spatial dimensions",
            "each takes one value a spatial dimension, pads two",
        )
    if min((*kernel, *stride, *dilation)) < 1:
        raise ShapeError(f"kernel {list(kernel)}, stride {list(stride)}, dilation {list(dilation)} below 1")
    if min(pads) < 0:
        raise ShapeError(f"negative pads {list(pads)}")
    return tuple(
        _positions(
            dim, size[dim], kernel[dim], stride[dim], (pads[dim], pads[dim + rank]), dilation[dim], ceil_mode
        )
        for dim in range(rank)
    )


def _positions(
    dim: int, size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int, ceil_mode: bool
) -> int:
    begin, end = pads
    free = size + begin + end - (dilation * (kernel - 1) + 1)
    if free < 0:
        raise ShapeError(
            f"spatial dimension {dim} has {size} elements and pads {begin} and {end}, "
            f"but the window covers {dilation * (kernel - 1) + 1}",
            "the input is too small",
        )
    if not ceil_mode:
        return free // stride + 1
    positions = -(-free // stride) + 1
    # A last window that starts in the trailing padding sees no element.
    return positions - ((positions - 1) * stride >= size + begin)


def _require_images(x: TensorSpec) -> None:
    if not 3 <= x.rank <= MAX_SPATIAL_RANK + 2:
        raise ShapeError(
            f"input of rank {x.rank}",
            f"[N, C, spatial...] with 1 to {MAX_SPATIAL_RANK} spatial dimensions is needed",
        )
