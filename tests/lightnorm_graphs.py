"""A LightNorm whose result one op reads."""

from __future__ import annotations

from xdsl.dialects.func import FuncOp
from xdsl.ir import SSAValue

from flexc.ir.program import parse_module

READERS = {
    "relu": "nn.relu %y : tensor<1x10x3x3xf32> -> tensor<1x10x3x3xf32>",
    "gather": "nn.gather %y, %i {axis = 2 : i64} : tensor<1x10x3x3xf32>, tensor<3xi64> "
    "-> tensor<1x10x3x3xf32>",
    "pad by 1": 'nn.pad %y {pads = array<i64: 0, 1, 0, 0, 0, 0, 0, 0>, mode = "constant", value = 0.0 : f32} '
    ": tensor<1x10x3x3xf32> -> tensor<1x11x3x3xf32>",
}


def norm_with_reader(reader: str, activation: str = "none", parameters: tuple[float, ...] = ()) -> SSAValue:
    """The result [1, 10, 3, 3] of a ``lightnorm.infer`` that ``reader`` reads; see READERS, and
    "slice from START" and "slice by STEP" along the channels."""
    text = READERS.get(reader) or _slice(reader)
    vectors = ", ".join(f"%{name}: tensor<10xf32>" for name in "gbmv")
    values = ", ".join(f"{value} : f32" for value in parameters)
    module = parse_module(
        f"""func.func @main(%x: tensor<1x10x3x3xf32>, {vectors}, %i: tensor<3xi64>) {{
  %y = lightnorm.infer %x, %g, %b, %m, %v {{eps = 0.001 : f32, rounding = "nearest",
    activation = "{activation}", activation_parameters = [{values}]}} : tensor<1x10x3x3xf32>, tensor<10xf32>,
    tensor<10xf32>, tensor<10xf32>, tensor<10xf32> -> tensor<1x10x3x3xf32>
  %z = {text}
  func.return
}}"""
    )
    (function,) = module.ops
    assert isinstance(function, FuncOp)
    norm = function.body.block.first_op
    assert norm is not None
    return norm.results[0]


def _slice(reader: str) -> str:
    start = int(reader.split()[-1]) if "from" in reader else 9
    step = int(reader.split()[-1]) if "by" in reader else 1
    return (
        f"nn.slice %y {{starts = array<i64: 0, {start}, 0, 0>, sizes = array<i64: 1, 4, 3, 3>, "
        f"steps = array<i64: 1, {step}, 1, 1>}} : tensor<1x10x3x3xf32> -> tensor<1x4x3x3xf32>"
    )
