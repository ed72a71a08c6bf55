"""DenseNet-121 (Huang et al., 2016), for ImageNet and CIFAR sizes."""

from __future__ import annotations

from pathlib import Path

import click
import onnx

from models.graph_builder import GraphBuilder, batch_option, save_and_report

DEPTHS = (6, 12, 24, 16)
GROWTH = 32


def _norm_relu_conv(builder: GraphBuilder, x: str, channels: tuple[int, int], kernel: int, name: str) -> str:
    x = builder.node("Relu", [builder.batch_norm(x, channels[0], f"{name}.bn")])
    return builder.conv(x, channels, kernel, f"{name}.conv")


def make_densenet121(
    *,
    batch: int | str = 1,
    size: int = 224,
    classes: int = 1000,
    depths: tuple[int, ...] = DEPTHS,
    growth: int = GROWTH,
    seed: int = 0,
) -> onnx.ModelProto:
    """``depths`` gives the layers of each dense block, ``growth`` their channels.

    Sizes up to 64 get a 3x3 stem.
    """
    builder = GraphBuilder("densenet121", seed)
    x = builder.input("input", (batch, 3, size, size))
    channels = 2 * growth
    if size > 64:
        x = builder.conv(x, (3, channels), 7, "stem.conv", stride=2)
        x = builder.node("Relu", [builder.batch_norm(x, channels, "stem.bn")])
        x = builder.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    else:
        x = builder.conv(x, (3, channels), 3, "stem.conv")
        x = builder.node("Relu", [builder.batch_norm(x, channels, "stem.bn")])
    for block, depth in enumerate(depths):
        for layer in range(depth):
            name = f"block{block}.{layer}"
            y = _norm_relu_conv(builder, x, (channels, 4 * growth), 1, f"{name}.1")
            y = _norm_relu_conv(builder, y, (4 * growth, growth), 3, f"{name}.2")
            x = builder.node("Concat", [x, y], axis=1)
            channels += growth
        if block + 1 < len(depths):
            x = _norm_relu_conv(builder, x, (channels, channels // 2), 1, f"transition{block}")
            x = builder.node("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])
            channels //= 2
    x = builder.node("Relu", [builder.batch_norm(x, channels, "final.bn")])
    x = builder.node("Flatten", [builder.node("GlobalAveragePool", [x])])
    logits = builder.linear(x, (channels, classes), "classifier")
    return builder.model({logits: (batch, classes)})


@click.command(help=__doc__)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@batch_option
@click.option("--size", default=224, show_default=True, help="Height and width in pixels.")
@click.option("--classes", default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(output: Path, batch: int | str, size: int, classes: int, seed: int) -> None:
    save_and_report(make_densenet121(batch=batch, size=size, classes=classes, seed=seed), output)


if __name__ == "__main__":
    main()
