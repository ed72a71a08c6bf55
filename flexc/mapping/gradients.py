"""The contraction problems of a layer's gradients, from the problem of its forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from flexc.mapping.problem import ContractionProblem


@dataclass(frozen=True)
class OperandGroups:
    """Mantissa bits and group length of one operand of a gradient, along its reduced axis."""

    mantissa_bits: int
    group: int


def local_grad_problems(
    forward: ContractionProblem, g: OperandGroups, w: OperandGroups
) -> tuple[ContractionProblem, ...]:
    """The gradient of operand a: of a convolution, one dense problem for each phase of the stride.

    The rows of a whose index leaves the same remainder by the stride see the same taps, so they are a
    convolution of stride 1 over g. A phase that no tap reaches is all zeros, and has no problem. In a phase
    row ``i`` reads row ``i - pad + tap * dilation`` of g, taps counted from the last.
    """
    groups, n, p, q, o, k, _, _ = forward.extents
    if forward.kind == "matmul":
        return (
            ContractionProblem(
                "matmul",
                (groups, 1, p, 1, k, o, 1, 1),
                g.mantissa_bits,
                w.mantissa_bits,
                g.group,
                w.group,
                pass_="local_grad",
            ),
        )
    depthwise = forward.kind == "depthwise" and o == 1
    window = depthwise and forward.b_group_dim == "window"
    return tuple(
        ContractionProblem(
            "depthwise" if depthwise else "conv",
            (groups, n, rows.extent, columns.extent, k, o, rows.taps, columns.taps),
            g.mantissa_bits,
            w.mantissa_bits,
            g.group,
            w.group,
            a_group_dim="g" if depthwise else "k",
            b_group_dim="window" if window else "k",
            pass_="local_grad",
            dilation=(rows.dilation, columns.dilation),
            input_extents=(p, q),
            pads=(rows.pad_begin, columns.pad_begin, rows.pad_end(p), columns.pad_end(q)),
        )
        for rows in phases(forward, 0)
        for columns in phases(forward, 1)
    )


def weight_grad_problem(
    forward: ContractionProblem, x: OperandGroups, g: OperandGroups
) -> ContractionProblem:
    """The gradient of operand b: images are reduced, and a window of the result's rows and columns."""
    groups, n, p, q, o, k, r, s = forward.extents
    if forward.kind == "matmul":
        extents = (groups, 1, k, 1, o, p, 1, 1)
        return ContractionProblem(
            "matmul", extents, x.mantissa_bits, g.mantissa_bits, x.group, g.group, pass_="weight_grad"
        )
    return ContractionProblem(
        "conv",
        (groups, k, r, s, o, n, p, q),
        x.mantissa_bits,
        g.mantissa_bits,
        x.group,
        g.group,
        pass_="weight_grad",
        stride=forward.dilation,
        dilation=forward.stride,
        input_extents=forward.input_extents,
        pads=forward.pads,
    )


@dataclass(frozen=True)
class Phase:
    """The rows (or columns) of operand a with one remainder by the stride, and the taps that reach them."""

    first: int
    """First row."""
    extent: int
    """Rows of the phase."""
    first_tap: int
    tap_step: int
    """Every how many taps reach the phase."""
    taps: int
    dilation: int
    """Rows of g between two of these taps."""
    pad_begin: int
    """Rows of zeros before g (negative: cropped)."""

    def pad_end(self, size: int) -> int:
        """Rows of zeros after the ``size`` rows of g (negative: cropped)."""
        return self.extent + (self.taps - 1) * self.dilation - self.pad_begin - size


def phases(forward: ContractionProblem, axis: int) -> list[Phase]:
    """The phases of rows (``axis`` 0) or columns (1) of operand a that some tap reaches."""
    size, taps = forward.input_extents[axis], forward.extents[6 + axis]
    stride, dilation, pad = forward.stride[axis], forward.dilation[axis], forward.pads[axis]
    step = stride // gcd(stride, dilation)
    found = []
    for first in range(min(stride, size)):
        reaching = [tap for tap in range(taps) if (first + pad - tap * dilation) % stride == 0]
        if reaching:
            spread = step * dilation // stride
            of_first_tap = (first + pad - reaching[0] * dilation) // stride
            found.append(
                Phase(
                    first=first,
                    extent=-(-(size - first) // stride),
                    first_tap=reaching[0],
                    tap_step=step,
                    taps=len(reaching),
                    dilation=spread,
                    pad_begin=(len(reaching) - 1) * spread - of_first_tap,
                )
            )
    return found
