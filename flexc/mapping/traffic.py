"""Rows and columns of operand a that the tiles of a contraction read from DRAM.

All cores' boxes are read together, and what several of them need is read once (machine description, "The
array"). What lies outside the tensor is not read.
"""

from __future__ import annotations

from functools import lru_cache

from flexc.mapping.footprint import window_span
from flexc.mapping.problem import ContractionProblem


def read_rows(
    problem: ContractionProblem, axis: int, tile: int, cores: int, taps_tile: int
) -> tuple[tuple[int, ...], ...]:
    """Rows (``axis`` 0) or columns (1) read, for each tile of outputs and, within, each tile of taps."""
    outputs = problem.extents[2 + axis]
    taps = problem.extents[6 + axis]
    step, spread = problem.stride[axis], problem.dilation[axis]
    return _read(
        outputs,
        taps,
        tile,
        cores,
        taps_tile,
        step,
        spread,
        problem.pads[axis],
        problem.input_extents[axis],
        one_tap_of_forward=problem.pass_ == "weight_grad" and outputs == 1,
    )


@lru_cache(maxsize=4096)
def _read(
    outputs: int,
    taps: int,
    tile: int,
    cores: int,
    taps_tile: int,
    stride: int,
    dilation: int,
    pad: int,
    size: int,
    *,
    one_tap_of_forward: bool,
) -> tuple[tuple[int, ...], ...]:
    span = window_span(tile, taps_tile, stride, dilation)
    blocks_apart = taps_tile == 1 or span < tile * stride
    found = []
    for first in range(0, outputs, tile * cores):
        of_taps = []
        for first_tap in range(0, taps, taps_tile):
            start = first * stride + first_tap * dilation - pad
            if taps_tile == 1:
                first_inside = start if start >= 0 else start % stride
                rows = len(range(first_inside, min(start + tile * cores * stride, size), stride))
            elif one_tap_of_forward:
                # Rows of the gradient meet rows of x that are a stride of the forward pass apart.
                first_inside = start if start >= 0 else start % dilation
                met = min(taps_tile, taps - first_tap)
                rows = len(range(first_inside, min(start + met * dilation, size), dilation))
            elif blocks_apart:
                starts = range(start, start + cores * tile * stride, tile * stride)
                rows = sum(max(0, min(begin + span, size) - max(begin, 0)) for begin in starts)
            else:
                rows = max(
                    0,
                    min(start + window_span(tile * cores, taps_tile, stride, dilation), size) - max(start, 0),
                )
            of_taps.append(rows)
        found.append(tuple(of_taps))
    return tuple(found)
