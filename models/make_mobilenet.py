"""MobileNetV1 (Howard et al., 2017) and MobileNetV2 (Sandler et al., 2018), ImageNet and CIFAR sizes."""

from __future__ import annotations

from pathlib import Path

import click
import onnx

from models.graph_builder import GraphBuilder, batch_option, save_and_report

V1_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
V2_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
RESIDUAL_SCALE = 0.5
"""Gamma of the last batch norm of a block with a residual: keeps activations from growing with depth."""


class _Layers:
    """Convolutions with batch norm and the activation of one of the two networks."""

    def __init__(self, builder: GraphBuilder, relu6: bool) -> None:
        self.builder = builder
        self.bounds = [builder.scalar("zero", 0.0), builder.scalar("six", 6.0)] if relu6 else []

    def conv(
        self,
        x: str,
        channels: tuple[int, int],
        kernel: int,
        name: str,
        *,
        stride: int = 1,
        group: int = 1,
        activation: bool = True,
        gain: float = 2.0,
        scale: float = 1.0,
    ) -> str:
        y = self.builder.conv(x, channels, kernel, f"{name}.conv", stride=stride, group=group, gain=gain)
        y = self.builder.batch_norm(y, channels[1], f"{name}.bn", scale=scale)
        if not activation:
            return y
        return self.builder.node("Clip", [y, *self.bounds]) if self.bounds else self.builder.node("Relu", [y])


def _classifier(
    builder: GraphBuilder, x: str, features: int, batch: int | str, classes: int
) -> onnx.ModelProto:
    x = builder.node("Flatten", [builder.node("GlobalAveragePool", [x])])
    logits = builder.linear(x, (features, classes), "classifier")
    return builder.model({logits: (batch, classes)})


def make_mobilenet_v1(
    *, batch: int | str = 1, size: int = 224, classes: int = 1000, width: float = 1.0, seed: int = 0
) -> onnx.ModelProto:
    """Depthwise separable convolutions with ReLU; sizes up to 64 keep the stem at stride 1."""
    builder = GraphBuilder("mobilenet_v1", seed)
    layers = _Layers(builder, relu6=False)
    inside = int(32 * width)
    x = builder.input("input", (batch, 3, size, size))
    x = layers.conv(x, (3, inside), 3, "stem", stride=2 if size > 64 else 1)
    for index, (channels, stride) in enumerate(V1_BLOCKS):
        outside = int(channels * width)
        x = layers.conv(x, (inside, inside), 3, f"block{index}.depthwise", stride=stride, group=inside)
        x = layers.conv(x, (inside, outside), 1, f"block{index}.pointwise")
        inside = outside
    return _classifier(builder, x, inside, batch, classes)


def make_mobilenet_v2(
    *, batch: int | str = 1, size: int = 224, classes: int = 1000, width: float = 1.0, seed: int = 0
) -> onnx.ModelProto:
    """Inverted residuals with ReLU6; sizes up to 64 keep the stem and the second stage at stride 1.

    ``width`` scales the channels of all layers but the head, as in the paper for widths below 1.
    """
    builder = GraphBuilder("mobilenet_v2", seed)
    layers = _Layers(builder, relu6=True)
    small = size <= 64
    x = builder.input("input", (batch, 3, size, size))
    inside = int(32 * width)
    x = layers.conv(x, (3, inside), 3, "stem", stride=1 if small else 2)
    for stage, (expansion, channels, depth, first_stride) in enumerate(V2_BLOCKS):
        outside = int(channels * width)
        for index in range(depth):
            stride = first_stride if index == 0 and not (small and stage == 1) else 1
            name = f"stage{stage}.{index}"
            y, hidden = x, inside * expansion
            if expansion != 1:
                y = layers.conv(y, (inside, hidden), 1, f"{name}.expand", gain=1.0)
            y = layers.conv(y, (hidden, hidden), 3, f"{name}.depthwise", stride=stride, group=hidden)
            residual = stride == 1 and inside == outside
            scale = RESIDUAL_SCALE if residual else 1.0
            y = layers.conv(y, (hidden, outside), 1, f"{name}.project", activation=False, scale=scale)
            x = builder.node("Add", [x, y]) if residual else y
            inside = outside
    x = layers.conv(x, (inside, 1280), 1, "head", gain=1.0)
    return _classifier(builder, x, 1280, batch, classes)


@click.command(help=__doc__)
@click.argument("name", type=click.Choice(["mobilenet_v1", "mobilenet_v2"]))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@batch_option
@click.option("--size", default=224, show_default=True, help="Height and width in pixels.")
@click.option("--classes", default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(name: str, output: Path, batch: int | str, size: int, classes: int, seed: int) -> None:
    make = make_mobilenet_v1 if name == "mobilenet_v1" else make_mobilenet_v2
    save_and_report(make(batch=batch, size=size, classes=classes, seed=seed), output)


if __name__ == "__main__":
    main()
