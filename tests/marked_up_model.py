"""A model whose names hold markup that would run a script wherever it is not escaped."""

from __future__ import annotations

import onnx

from tests.onnx_models import build, make_node, random

MARK = "<img src=x onerror='window.hurt=1'></script><script>window.hurt=1</script>&lt;b&gt;${1}"


def marked_up_model() -> onnx.ModelProto:
    """Two convolutions with a relu between; every name of a node, a value and a weight holds markup."""
    nodes = [
        make_node("Conv", ["x", f"w1{MARK}"], [f"c{MARK}"], name=f"first{MARK}", pads=[1] * 4),
        make_node("Relu", [f"c{MARK}"], [f"r{MARK}"], name=f"relu{MARK}"),
        make_node("Conv", [f"r{MARK}", f"w2{MARK}"], ["y"], name=f"second{MARK}", pads=[1] * 4),
    ]
    weights = {f"w1{MARK}": random(16, 8, 3, 3), f"w2{MARK}": random(24, 16, 3, 3, seed=1)}
    return build(nodes, {"x": random(1, 8, 10, 10)}, weights)
