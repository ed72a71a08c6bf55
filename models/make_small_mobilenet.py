"""A small depthwise separable network to train on 8x8 or 28x28 images, with batch normalization."""

from __future__ import annotations

from pathlib import Path

import click
import onnx

from models.graph_builder import GraphBuilder, save_and_report
from models.untrained import conv_bn, linear_classifier, open_batch_input

BLOCKS = ((32, 1), (64, 2), (64, 1), (128, 2))
"""Channels and stride of each pair of a depthwise and a pointwise convolution."""


def make_small_mobilenet(
    *,
    size: int = 28,
    classes: int = 10,
    channels: int = 1,
    width: int = 16,
    blocks: tuple[tuple[int, int], ...] = BLOCKS,
    seed: int = 0,
) -> onnx.ModelProto:
    """A stem (stride 2 from 16 pixels on) and the blocks; input [batch, channels, size, size]."""
    builder = GraphBuilder("small_mobilenet", seed)
    x = open_batch_input(builder, (channels, size, size))
    stem_stride = 2 if size >= 16 else 1
    x = builder.node("Relu", [conv_bn(builder, x, (channels, width), 3, "stem", stride=stem_stride)])
    inside = width
    for index, (outside, stride) in enumerate(blocks):
        name = f"block{index}"
        y = conv_bn(builder, x, (inside, inside), 3, f"{name}.depthwise", stride=stride, group=inside)
        y = conv_bn(builder, builder.node("Relu", [y]), (inside, outside), 1, f"{name}.pointwise")
        x = builder.node("Relu", [y])
        inside = outside
    return linear_classifier(builder, x, inside, classes)


@click.command(help=__doc__)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--size", default=28, show_default=True, help="Height and width in pixels.")
@click.option("--classes", default=10, show_default=True)
@click.option("--channels", default=1, show_default=True, help="Channels of an image.")
@click.option("--seed", default=0, show_default=True, help="Of the first weights.")
def main(output: Path, size: int, classes: int, channels: int, seed: int) -> None:
    save_and_report(make_small_mobilenet(size=size, classes=classes, channels=channels, seed=seed), output)


if __name__ == "__main__":
    main()
