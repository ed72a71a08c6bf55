"""VGG-16 (Simonyan and Zisserman, 2014): ImageNet with its three linear layers, CIFAR with one."""

from __future__ import annotations

from pathlib import Path

import click
import onnx

from models.graph_builder import GraphBuilder, batch_option, save_and_report

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def make_vgg16(
    *, batch: int | str = 1, size: int = 224, classes: int = 1000, width: float = 1.0, seed: int = 0
) -> onnx.ModelProto:
    """Sizes up to 64 end in one linear layer on the last stage's pixels; ``width`` scales the channels."""
    builder = GraphBuilder("vgg16", seed)
    x = builder.input("input", (batch, 3, size, size))
    inside = 3
    for stage, (channels, depth) in enumerate(STAGES):
        outside = int(channels * width)
        for index in range(depth):
            x = builder.conv(x, (inside, outside), 3, f"stage{stage}.{index}.conv", bias=True)
            x = builder.node("Relu", [x])
            inside = outside
        x = builder.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = builder.node("Flatten", [x])
    features = inside * (size // 32) ** 2
    if size > 64:
        for name in ("fc1", "fc2"):
            x = builder.node("Relu", [builder.linear(x, (features, 4096), name, gain=2.0)])
            features = 4096
    logits = builder.linear(x, (features, classes), "classifier")
    return builder.model({logits: (batch, classes)})


@click.command(help=__doc__)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@batch_option
@click.option("--size", default=224, show_default=True, help="Height and width in pixels.")
@click.option("--classes", default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(output: Path, batch: int | str, size: int, classes: int, seed: int) -> None:
    save_and_report(make_vgg16(batch=batch, size=size, classes=classes, seed=seed), output)


if __name__ == "__main__":
    main()
