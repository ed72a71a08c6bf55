"""Small models to train: a residual network, a depthwise one and a transformer block."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from models.graph_builder import GraphBuilder


def _normed(b: GraphBuilder, x: str, channels: tuple[int, int], name: str, **conv: Any) -> str:
    y = b.conv(x, channels, conv.pop("kernel", 3), f"{name}.conv", **conv)
    gamma = b.rng.uniform(0.6, 1.4, channels[1]).astype(np.float32)
    beta = b.rng.uniform(-0.5, 0.5, channels[1]).astype(np.float32)
    vectors = {"weight": gamma, "bias": beta, "mean": np.zeros_like(beta), "var": np.ones_like(beta)}
    names = [b.weight(f"{name}.bn.{word}", array) for word, array in vectors.items()]
    return b.node("BatchNormalization", [y, *names], f"{name}.bn", epsilon=1e-3)


def _classifier(b: GraphBuilder, x: str, channels: int, classes: int) -> str:
    pooled = b.node("Flatten", [b.node("GlobalAveragePool", [x])])
    weight = b.normal("fc.weight", (classes, channels), channels)
    return b.node("Gemm", [pooled, weight, b.normal("fc.bias", (classes,), 4)], "fc", transB=1)


def small_resnet(*, batch: int = 6, size: int = 12, width: int = 4, classes: int = 5) -> onnx.ModelProto:
    """Stem, max pool, a plain block and one that halves the image; ends in a softmax."""
    b = GraphBuilder("resnet", 1)
    x = b.input("input", (batch, 3, size, size))
    y = b.node("Relu", [_normed(b, x, (3, width), "stem")])
    y = b.node("MaxPool", [y], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    for name, inside, outside, stride in (("a", width, width, 1), ("b", width, 2 * width, 2)):
        z = b.node("Relu", [_normed(b, y, (inside, outside), f"{name}.1", stride=stride)])
        z = _normed(b, z, (outside, outside), f"{name}.2")
        if stride != 1:
            y = _normed(b, y, (inside, outside), f"{name}.shortcut", kernel=1, stride=stride)
        y = b.node("Relu", [b.node("Add", [z, y])])
    logits = _classifier(b, y, 2 * width, classes)
    return b.model({b.node("Softmax", [logits], axis=-1): (batch, classes)})


def small_mobilenet(*, batch: int = 6, size: int = 12, width: int = 6, classes: int = 5) -> onnx.ModelProto:
    """A stem, and two depthwise convolutions with a pointwise one behind each."""
    b = GraphBuilder("mobilenet", 2)
    y = _normed(b, b.input("input", (batch, 3, size, size)), (3, width), "stem", stride=2)
    y = b.node("HardSwish", [y])
    for name, outside, stride in (("a", width, 1), ("b", 2 * width, 2)):
        y = _normed(b, y, (width, width), f"{name}.depthwise", stride=stride, group=width)
        y = b.node("Relu", [y])
        y = b.node("HardSwish", [_normed(b, y, (width, outside), f"{name}.pointwise", kernel=1)])
    return b.model({_classifier(b, y, 2 * width, classes): (batch, classes)})


def small_transformer(
    *, batch: int = 3, length: int = 5, width: int = 8, heads: int = 2, classes: int = 4
) -> onnx.ModelProto:
    """Embeddings of tokens and positions, one block of attention and GELU, the mean over positions."""
    b = GraphBuilder("transformer", 3)
    tokens = b.input("tokens", (batch, length), TensorProto.INT64)
    x = b.node("Gather", [b.normal("embedding", (7, width), 1, 1), tokens], "embedding")
    x = b.node("Add", [x, b.normal("positions", (length, width), 1, 1)])

    def norm(x: str, name: str) -> str:
        gamma = b.weight(f"{name}.weight", b.rng.uniform(0.6, 1.4, width).astype(np.float32))
        return b.node("LayerNormalization", [x, gamma, b.normal(f"{name}.bias", (width,), 4)], name)

    def linear(x: str, extents: tuple[int, int], name: str) -> str:
        product = b.node("MatMul", [x, b.normal(f"{name}.weight", extents, extents[0], 1)], name)
        return b.node("Add", [product, b.normal(f"{name}.bias", (extents[1],), 8)], f"{name}.add")

    def split(x: str, axes: list[int]) -> str:
        return b.node("Transpose", [b.node("Reshape", [x, by_head])], perm=axes)

    by_head = b.constant("by_head", [batch, length, heads, width // heads])
    y = norm(x, "norm1")
    q, k, v = (linear(y, (width, width), name) for name in ("query", "key", "value"))
    scores = b.node("MatMul", [split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1])], "scores")
    scores = b.node("Mul", [scores, b.scalar("scale", (width // heads) ** -0.5)])
    mixed = b.node("MatMul", [b.node("Softmax", [scores], axis=-1), split(v, [0, 2, 1, 3])], "mix")
    merged = b.constant("merged", [batch, length, width])
    y = b.node("Reshape", [b.node("Transpose", [mixed], perm=[0, 2, 1, 3]), merged])
    x = b.node("Add", [x, linear(y, (width, width), "attended")])
    y = linear(norm(x, "norm2"), (width, 2 * width), "mlp1")
    y = b.node("Mul", [y, b.node("Sigmoid", [y])])
    x = b.node("Add", [x, linear(y, (2 * width, width), "mlp2")])
    pooled = b.node("ReduceMean", [x], axes=[1], keepdims=0)
    return b.model({linear(pooled, (width, classes), "head"): (batch, classes)})
