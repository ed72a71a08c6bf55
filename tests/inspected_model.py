"""A small model with every kind of group, for what shows schedules."""

from __future__ import annotations

import numpy as np
import onnx

from tests.onnx_models import build, make_node, random


def residual_model() -> onnx.ModelProto:
    """conv and batch norm and relu, twice, with a residual; then pooling and a linear layer."""
    constants = {
        "w1": random(40, 40, 3, 3),
        "w2": random(40, 40, 3, 3, seed=1),
        "w3": random(40, 10, seed=2),
        **{name: np.abs(random(40, seed=i)) for i, name in enumerate(("g", "b", "m", "v"))},
    }
    statistics = ["g", "b", "m", "v"]
    nodes = [
        make_node("Conv", ["x", "w1"], ["c1"], name="block.conv1", pads=[1] * 4),
        make_node("BatchNormalization", ["c1", *statistics], ["n1"], name="block.bn1"),
        make_node("Relu", ["n1"], ["r1"], name="block.relu1"),
        make_node("Conv", ["r1", "w2"], ["c2"], name="block.conv2", pads=[1] * 4),
        make_node("BatchNormalization", ["c2", *statistics], ["n2"], name="block.bn2"),
        make_node("Add", ["n2", "x"], ["s"], name="block.add"),
        make_node("Relu", ["s"], ["r2"], name="block.relu2"),
        make_node("GlobalAveragePool", ["r2"], ["p"], name="pool"),
        make_node("Flatten", ["p"], ["f"], name="flatten"),
        make_node("Gemm", ["f", "w3"], ["y"], name="fc"),
    ]
    return build(nodes, {"x": random(2, 40, 12, 12)}, constants)
