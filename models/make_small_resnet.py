"""A small residual network to train on 8x8 or 28x28 images: 16, 32 and 64 channels, batch normalization."""

from __future__ import annotations

from pathlib import Path

import click
import onnx

from models.graph_builder import GraphBuilder, save_and_report
from models.untrained import conv_bn, linear_classifier, open_batch_input

WIDTHS = (16, 32, 64)


def _block(builder: GraphBuilder, x: str, channels: tuple[int, int], name: str, stride: int) -> str:
    inside, outside = channels
    y = builder.node("Relu", [conv_bn(builder, x, channels, 3, f"{name}.1", stride=stride)])
    y = conv_bn(builder, y, (outside, outside), 3, f"{name}.2")
    if stride != 1 or inside != outside:
        x = conv_bn(builder, x, channels, 1, f"{name}.shortcut", stride=stride)
    return builder.node("Relu", [builder.node("Add", [y, x])])


def make_small_resnet(
    *, size: int = 28, classes: int = 10, channels: int = 1, widths: tuple[int, ...] = WIDTHS, seed: int = 0
) -> onnx.ModelProto:
    """A stem (stride 2 from 16 pixels on) and one block a width; input [batch, channels, size, size]."""
    builder = GraphBuilder("small_resnet", seed)
    x = open_batch_input(builder, (channels, size, size))
    stem_stride = 2 if size >= 16 else 1
    x = builder.node("Relu", [conv_bn(builder, x, (channels, widths[0]), 3, "stem", stride=stem_stride)])
    inside = widths[0]
    for index, outside in enumerate(widths):
        x = _block(builder, x, (inside, outside), f"block{index}", 1 if index == 0 else 2)
        inside = outside
    return linear_classifier(builder, x, inside, classes)


@click.command(help=__doc__)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--size", default=28, show_default=True, help="Height and width in pixels.")
@click.option("--classes", default=10, show_default=True)
@click.option("--channels", default=1, show_default=True, help="Channels of an image.")
@click.option("--seed", default=0, show_default=True, help="Of the first weights.")
def main(output: Path, size: int, classes: int, channels: int, seed: int) -> None:
    save_and_report(make_small_resnet(size=size, classes=classes, channels=channels, seed=seed), output)


if __name__ == "__main__":
    main()
