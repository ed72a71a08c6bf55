"""ResNet-18, -34 and -50 (He et al., 2015), for ImageNet (7x7 stem) and CIFAR (3x3 stem) sizes."""

from __future__ import annotations

from pathlib import Path

import click
import onnx

from models.graph_builder import GraphBuilder, batch_option, save_and_report

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}


RESIDUAL_SCALE = 0.3
"""Gamma of the last batch norm of a block: keeps activations from growing with depth, as training does."""


def _conv_bn(
    builder: GraphBuilder,
    x: str,
    channels: tuple[int, int],
    kernel: int,
    name: str,
    *,
    stride: int = 1,
    scale: float = 1.0,
) -> str:
    y = builder.conv(x, channels, kernel, f"{name}.conv", stride=stride)
    return builder.batch_norm(y, channels[1], f"{name}.bn", scale=scale)


def _block(
    builder: GraphBuilder, x: str, channels: tuple[int, int], name: str, stride: int, bottleneck: bool
) -> str:
    inside, outside = channels
    if bottleneck:
        width = outside // 4
        y = builder.node("Relu", [_conv_bn(builder, x, (inside, width), 1, f"{name}.1")])
        y = builder.node("Relu", [_conv_bn(builder, y, (width, width), 3, f"{name}.2", stride=stride)])
        y = _conv_bn(builder, y, (width, outside), 1, f"{name}.3", scale=RESIDUAL_SCALE)
    else:
        y = builder.node("Relu", [_conv_bn(builder, x, (inside, outside), 3, f"{name}.1", stride=stride)])
        y = _conv_bn(builder, y, (outside, outside), 3, f"{name}.2", scale=RESIDUAL_SCALE)
    if stride != 1 or inside != outside:
        x = _conv_bn(builder, x, (inside, outside), 1, f"{name}.downsample", stride=stride)
    return builder.node("Relu", [builder.node("Add", [y, x])])


def make_resnet(
    name: str, *, batch: int | str = 1, size: int = 224, classes: int = 1000, width: int = 64, seed: int = 0
) -> onnx.ModelProto:
    """``name`` is a key of ``DEPTHS``; sizes up to 64 get the CIFAR stem; ``width`` is the first stage's."""
    builder = GraphBuilder(name, seed)
    bottleneck = name == "resnet50"
    expansion = 4 if bottleneck else 1
    x = builder.input("input", (batch, 3, size, size))
    if size > 64:
        x = builder.node("Relu", [_conv_bn(builder, x, (3, width), 7, "stem", stride=2)])
        x = builder.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    else:
        x = builder.node("Relu", [_conv_bn(builder, x, (3, width), 3, "stem")])
    inside = width
    for stage, depth in enumerate(DEPTHS[name]):
        outside = width * 2**stage * expansion
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            x = _block(builder, x, (inside, outside), f"layer{stage + 1}.{index}", stride, bottleneck)
            inside = outside
    x = builder.node("Flatten", [builder.node("GlobalAveragePool", [x])])
    logits = builder.linear(x, (inside, classes), "fc")
    return builder.model({logits: (batch, classes)})


@click.command(help=__doc__)
@click.argument("name", type=click.Choice(sorted(DEPTHS)))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@batch_option
@click.option("--size", default=224, show_default=True, help="Height and width in pixels.")
@click.option("--classes", default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(name: str, output: Path, batch: int | str, size: int, classes: int, seed: int) -> None:
    save_and_report(make_resnet(name, batch=batch, size=size, classes=classes, seed=seed), output)


if __name__ == "__main__":
    main()
