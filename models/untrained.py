"""Parts of networks that are still to be trained: weights as usual before the first step, an open batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from models.graph_builder import OPEN_BATCH, GraphBuilder


def open_batch_input(builder: GraphBuilder, shape: Sequence[int]) -> str:
    """The input ``input`` of shape [batch, *shape]."""
    return builder.input("input", (OPEN_BATCH, *shape))


def conv_bn(
    builder: GraphBuilder,
    x: str,
    channels: tuple[int, int],
    kernel: int,
    name: str,
    *,
    stride: int = 1,
    group: int = 1,
) -> str:
    """A convolution without bias, and a batch norm of gamma 1, beta 0, mean 0 and variance 1."""
    y = builder.conv(x, channels, kernel, f"{name}.conv", stride=stride, group=group)
    starts = {"weight": 1.0, "bias": 0.0, "mean": 0.0, "var": 1.0}
    names = [
        builder.weight(f"{name}.bn.{word}", np.full(channels[1], value, np.float32))
        for word, value in starts.items()
    ]
    return builder.node("BatchNormalization", [y, *names], f"{name}.bn", epsilon=1e-5)


def linear_classifier(builder: GraphBuilder, x: str, features: int, classes: int) -> onnx.ModelProto:
    """Average pooling over the image and a linear layer; the model's output are its logits."""
    pooled = builder.node("Flatten", [builder.node("GlobalAveragePool", [x])])
    logits = builder.linear(pooled, (features, classes), "classifier", gain=1.0)
    return builder.model({logits: (OPEN_BATCH, classes)})
