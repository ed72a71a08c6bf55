"""Contraction problems for tests: layers by their shape, and hypothesis strategies over them."""

from __future__ import annotations

from hypothesis import strategies as st

from flexc.mapping.problem import ContractionProblem

GROUP = {4: 216, 8: 108, 16: 54}
WIDTHS = (4, 8, 16)


def conv_problem(
    x: tuple[int, int, int, int],
    channels: int,
    kernel: tuple[int, int],
    *,
    stride: int = 1,
    pad: int = 0,
    dilation: int = 1,
    groups: int = 1,
    bits: tuple[int, int] = (8, 8),
    group: tuple[int, int] | None = None,
) -> ContractionProblem:
    """A convolution of x [N, C, H, W]; depthwise where ``groups`` are its channels."""
    n, c, h, w = x
    p, q = (
        (size + 2 * pad - (taps - 1) * dilation - 1) // stride + 1
        for size, taps in zip((h, w), kernel, strict=True)
    )
    a_group, b_group = group or (GROUP[bits[0]], GROUP[bits[1]])
    depthwise = groups == c
    window = depthwise and kernel != (1, 1)
    return ContractionProblem(
        "depthwise" if depthwise else "conv",
        (groups, n, p, q, channels // groups, c // groups, *kernel),
        *bits,
        a_group=min(a_group, c),
        b_group=kernel[0] * kernel[1] if window else min(b_group, c // groups),
        a_group_dim="g" if depthwise else "k",
        b_group_dim="window" if window else "k",
        stride=(stride, stride),
        dilation=(dilation, dilation),
        input_extents=(h, w),
        pads=(pad, pad, pad, pad),
    )


def matmul_problem(
    batch: int, rows: int, depth: int, columns: int, bits: tuple[int, int] = (8, 8)
) -> ContractionProblem:
    """A product of [batch, rows, depth] and [batch, depth, columns]."""
    a_group, b_group = (min(GROUP[width], depth) for width in bits)
    return ContractionProblem("matmul", (batch, 1, rows, 1, columns, depth, 1, 1), *bits, a_group, b_group)


@st.composite
def small_problems(draw: st.DrawFn) -> ContractionProblem:
    """Contractions small enough to walk: ragged groups, strides, pads, all kinds."""
    bits = draw(st.tuples(st.sampled_from(WIDTHS), st.sampled_from(WIDTHS)))
    group = (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    if draw(st.booleans()):
        depth = draw(st.integers(1, 40))
        rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 13))
        return ContractionProblem(
            "matmul",
            (draw(st.integers(1, 3)), 1, rows, 1, columns, depth, 1, 1),
            *bits,
            min(group[0], depth),
            min(group[1], depth),
        )
    groups, depth = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = draw(st.integers(1, 2))
    spans = [(taps - 1) * dilation + 1 for taps in kernel]
    pad = draw(st.integers(0, 2))
    height, width = (max(1, span - 2 * pad) + draw(st.integers(0, 5)) for span in spans)
    return conv_problem(
        (draw(st.integers(1, 2)), groups * depth, height, width),
        groups * draw(st.integers(1, 5)),
        kernel,
        stride=draw(st.integers(1, 3)),
        pad=pad,
        dilation=dilation,
        groups=groups,
        bits=bits,
        group=group,
    )


LAYERS: dict[str, ContractionProblem] = {
    "resnet_stem": conv_problem((1, 3, 224, 224), 64, (7, 7), stride=2, pad=3),
    "resnet_stem_batch_64": conv_problem((64, 3, 224, 224), 64, (7, 7), stride=2, pad=3),
    "resnet_3x3": conv_problem((1, 64, 56, 56), 64, (3, 3), pad=1),
    "resnet_3x3_fb12": conv_problem((1, 64, 56, 56), 64, (3, 3), pad=1, bits=(4, 4)),
    "resnet_3x3_fb24": conv_problem((8, 512, 7, 7), 512, (3, 3), pad=1, bits=(16, 16)),
    "resnet_1x1": conv_problem((1, 256, 56, 56), 64, (1, 1)),
    "resnet_downsample": conv_problem((1, 64, 56, 56), 128, (1, 1), stride=2),
    "vgg_3x3": conv_problem((1, 64, 224, 224), 64, (3, 3), pad=1),
    "vgg_linear": matmul_problem(1, 1, 25088, 4096),
    "vgg_linear_batch_64": matmul_problem(1, 64, 25088, 4096),
    "depthwise_3x3": conv_problem((1, 96, 112, 112), 96, (3, 3), stride=2, pad=1, groups=96),
    "depthwise_5x5_fb24": conv_problem((8, 672, 14, 14), 672, (5, 5), pad=2, groups=672, bits=(16, 16)),
    "depthwise_3x3_fb12": conv_problem((1, 33, 14, 14), 33, (3, 3), pad=1, groups=33, bits=(4, 4)),
    "shufflenet_3_groups": conv_problem((1, 240, 28, 28), 60, (1, 1), groups=3),
    "resnext_32_groups": conv_problem((1, 128, 56, 56), 128, (3, 3), pad=1, groups=32),
    "cifar": conv_problem((64, 16, 32, 32), 16, (3, 3), pad=1),
    "mnist": conv_problem((1, 1, 28, 28), 8, (5, 5), pad=2),
    "speech_one_dimension": conv_problem((8, 40, 1, 1000), 64, (1, 9)),
    "attention": matmul_problem(12, 197, 64, 197),
    "attention_batch": matmul_problem(96, 197, 64, 197, (4, 8)),
    "attention_values": matmul_problem(96, 197, 197, 64, (16, 16)),
    "mixed_widths": conv_problem((1, 64, 56, 56), 64, (3, 3), pad=1, bits=(8, 4)),
    "ragged_k": conv_problem((1, 300, 14, 14), 24, (3, 3), pad=1),
    "one_of_everything": matmul_problem(1, 1, 1, 1),
}
