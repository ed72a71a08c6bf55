"""Shapes and attributes of a convolution, checked once and shared by its three passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class ConvGeometry:
    """A convolution as ONNX defines it, of any spatial rank from 1 to 3.

    ``x_shape`` is [N, C, spatial...], ``w_shape`` [O, C / group, kernel...]; ``pads_begin`` and ``pads_end``
    count zeros before and after each spatial dimension.
    """

    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    stride: tuple[int, ...]
    pads_begin: tuple[int, ...]
    pads_end: tuple[int, ...]
    dilation: tuple[int, ...]
    group: int

    @classmethod
    def of(
        cls,
        x_shape: Sequence[int],
        w_shape: Sequence[int],
        *,
        stride: Sequence[int],
        pads: Sequence[int],
        dilation: Sequence[int],
        group: int,
    ) -> ConvGeometry:
        """Raises ValueError when shapes and attributes do not belong together."""
        rank = len(x_shape) - 2
        if not 1 <= rank <= 3 or len(w_shape) != rank + 2:
            raise ValueError(
                f"x of shape {list(x_shape)} and w of shape {list(w_shape)}: spatial rank is 1, 2 or 3"
            )
        if len(stride) != rank or len(dilation) != rank or len(pads) != 2 * rank:
            raise ValueError(
                f"stride {list(stride)}, dilation {list(dilation)}, pads {list(pads)} for spatial rank {rank}"
            )
        if min(stride) < 1 or min(dilation) < 1 or min(pads) < 0:
            raise ValueError(
                f"stride {list(stride)}, dilation {list(dilation)} or pads {list(pads)} out of range"
            )
        if group < 1 or w_shape[1] * group != x_shape[1] or w_shape[0] % group:
            raise ValueError(
                f"{x_shape[1]} input channels and {w_shape[0]} output channels in {group} groups, "
                f"but w has shape {list(w_shape)}"
            )
        geometry = cls(
            tuple(x_shape),
            tuple(w_shape),
            tuple(stride),
            tuple(pads[:rank]),
            tuple(pads[rank:]),
            tuple(dilation),
            group,
        )
        if min(geometry.kernel) < 1 or min(geometry.y_spatial) < 1:
            raise ValueError(f"kernel {list(geometry.kernel)} does not fit padded x of shape {list(x_shape)}")
        return geometry

    @property
    def x_spatial(self) -> tuple[int, ...]:
        """The spatial dimensions of x."""
        return self.x_shape[2:]

    @property
    def kernel(self) -> tuple[int, ...]:
        """The spatial dimensions of w."""
        return self.w_shape[2:]

    @cached_property
    def y_spatial(self) -> tuple[int, ...]:
        """The spatial dimensions of y."""
        return tuple(
            (size + begin + end - (taps - 1) * dilation - 1) // stride + 1
            for size, begin, end, taps, dilation, stride in zip(
                self.x_spatial,
                self.pads_begin,
                self.pads_end,
                self.kernel,
                self.dilation,
                self.stride,
                strict=True,
            )
        )

    @property
    def y_shape(self) -> tuple[int, ...]:
        """[N, O, spatial...]."""
        return (self.x_shape[0], self.w_shape[0], *self.y_spatial)

    def input_position(self, axis: int, output: int, tap: int) -> int | None:
        """Where tap ``tap`` of output ``output`` reads x along a spatial axis, or None in the padding."""
        position = output * self.stride[axis] - self.pads_begin[axis] + tap * self.dilation[axis]
        return position if 0 <= position < self.x_spatial[axis] else None

    def output_position(self, axis: int, position: int, tap: int) -> int | None:
        """The output whose tap ``tap`` reads position ``position`` of x, or None if there is none."""
        output, rest = divmod(position + self.pads_begin[axis] - tap * self.dilation[axis], self.stride[axis])
        return output if rest == 0 and 0 <= output < self.y_spatial[axis] else None

    def require_gradient(self, g_shape: Sequence[int]) -> None:
        """Raise ValueError unless ``g_shape`` is that of y."""
        if tuple(g_shape) != self.y_shape:
            raise ValueError(f"gradient of shape {list(g_shape)} where y has shape {list(self.y_shape)}")
