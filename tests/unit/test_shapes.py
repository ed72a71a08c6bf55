"""What the type rules refuse, and that every op verifies itself with its rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from xdsl.utils.exceptions import VerifyException

from flexc.ir import bfp, lightnorm, nn, shapes, window_shapes
from flexc.ir.program import parse_module
from flexc.ir.shapes import ShapeError, TensorSpec
from flexc.ir.tensor_op import TensorOp, spec_of, tensor_type

F = TensorSpec((2, 3, 4))
INTEGERS = TensorSpec((2, 3, 4), "i64")
TRUTHS = TensorSpec((2, 3, 4), "i1")


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: shapes.elementwise(INTEGERS), "of i64 elements"),
        (lambda: shapes.arithmetic(F, INTEGERS), "operands of f32 and i64"),
        (lambda: shapes.arithmetic(TRUTHS, TRUTHS), "arithmetic on i1"),
        (lambda: shapes.power(INTEGERS, INTEGERS), "a power of i64"),
        (lambda: shapes.where(F, F, F), "a condition of f32"),
        (lambda: shapes.cast_to(F, to="f16"), "tensors of f16"),
        (lambda: shapes.matmul(F, TensorSpec((3, 4))), "4 columns on the left, but 3 rows"),
        (lambda: shapes.matmul(F, TensorSpec((4, 5)), TensorSpec((1, 5))), "the product has 5 columns"),
        (lambda: shapes.layer_norm(F, TensorSpec((5,)), axis=-1, eps=0.0), "do not broadcast"),
        (lambda: shapes.layer_norm(F, TensorSpec((2, 3, 4)), axis=-1, eps=0.0), "a parameter of shape"),
        (lambda: shapes.along_axis(F, axis=3), "axis 3 of a tensor of rank 3"),
        (lambda: shapes.reduction(F, axes=(1, -2), keepdims=True), "name a dimension twice"),
        (lambda: shapes.reshape(F, shape=(5, 5)), "24 elements"),
        (lambda: shapes.expand(F, shape=(2, 3)), "do not broadcast"),
        (lambda: shapes.expand(F, shape=(2, 1, 4)), "does not expand"),
        (lambda: shapes.transpose(F, permutation=(0, 1, 1)), "permutation"),
        (lambda: shapes.pad(F, pads=(0,) * 5, mode="constant", value=0.0), "5 pads"),
        (lambda: shapes.pad(F, pads=(0, 0, 4, 0, 0, 0), mode="reflect", value=0.0), "padded by 4"),
        (lambda: shapes.concat(axis=0), "nothing to concatenate"),
        (lambda: shapes.gather(F, F, axis=0), "indices of f32"),
    ],
)
def test_refusals(refused: Callable[[], TensorSpec], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        refused()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"w": TensorSpec((4, 3, 3))}, "the weight has rank 3"),
        ({"w": TensorSpec((4, 2, 3, 3))}, "3 input channels, but the weight has 2 x group 1"),
        ({"w": TensorSpec((4, 1, 3, 3)), "group": 3}, "4 output channels in 3 groups"),
        ({"bias": TensorSpec((3,))}, "a bias of shape"),
        ({"stride": (1,)}, "for 2 spatial dimensions"),
        ({"dilation": (0, 1)}, "below 1"),
        ({"pads": (0, 0, -1, 0)}, "negative pads"),
        ({"dilation": (4, 1)}, "the window covers 9"),
        ({"x": TensorSpec((1, 3))}, "input of rank 2"),
    ],
)
def test_refused_convolutions(changed: dict[str, object], message: str) -> None:
    operands: dict[str, object] = {"x": TensorSpec((1, 3, 8, 8)), "w": TensorSpec((4, 3, 3, 3)), "bias": None}
    attributes: dict[str, object] = {"stride": (1, 1), "pads": (0,) * 4, "dilation": (1, 1), "group": 1}
    with pytest.raises(ShapeError, match=message):
        window_shapes.conv(**{**operands, **attributes, **changed})  # type: ignore[arg-type]


def test_a_window_that_starts_in_the_trailing_padding_is_left_out() -> None:
    attributes = {"stride": (3,), "pads": (1, 1), "dilation": (1,)}
    assert window_shapes.windows((8,), (2,), ceil_mode=True, **attributes) == (3,)
    assert window_shapes.windows((9,), (2,), ceil_mode=True, **attributes) == (4,)


@pytest.mark.parametrize("spec", [F, INTEGERS, TRUTHS, TensorSpec((), "i32")])
def test_types_stand_for_specs(spec: TensorSpec) -> None:
    assert spec_of(tensor_type(spec)) == spec


def test_every_computing_op_has_a_rule() -> None:
    for dialect in (nn.NN, bfp.BFP, lightnorm.LIGHTNORM):
        for op in dialect.operations:
            if op not in (nn.ConstantOp, bfp.ConstantOp):
                assert issubclass(op, TensorOp)
                assert callable(op.RULE), op


FUNCTION = """
func.func @main(%x: tensor<1x4x6xf32>) -> {result} {{
  %y = {op} : tensor<1x4x6xf32> -> {result}
  func.return %y : {result}
}}
"""


@pytest.mark.parametrize(
    ("op", "good", "bad"),
    [
        ("nn.relu %x", "tensor<1x4x6xf32>", "tensor<1x4x6xi64>"),
        ("nn.reshape %x", "tensor<4x6xf32>", "tensor<4x7xf32>"),
        ("nn.expand %x", "tensor<3x4x6xf32>", "tensor<3x4x5xf32>"),
        ("nn.cast %x", "tensor<1x4x6xi64>", "tensor<1x4xi64>"),
        ("nn.transpose %x {permutation = array<i64: 2, 0, 1>}", "tensor<6x1x4xf32>", "tensor<1x6x4xf32>"),
        ("nn.reduce_sum %x {axes = array<i64: 1>, keepdims = false}", "tensor<1x6xf32>", "tensor<1x1x6xf32>"),
        (
            'bfp.quantize %x {rounding = "nearest", seed = 0 : i64, stream = 0 : i64}',
            "!bfp.tensor<1x4x6, m4, tile [1, 4, 1]>",
            "!bfp.tensor<1x4x5, m4, tile [1, 4, 1]>",
        ),
    ],
)
def test_ops_verify_their_result(op: str, good: str, bad: str) -> None:
    parse_module(FUNCTION.format(op=op, result=good)).verify()
    with pytest.raises(VerifyException):
        parse_module(FUNCTION.format(op=op, result=bad)).verify()
