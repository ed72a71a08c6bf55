"""Further forms of the operators that a training step differentiates: older opsets, other ranks and modes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.operator_cases import BATCH_NORM, DROPOUT, IMAGES, OperatorCase, integers, scalar


@dataclass(frozen=True)
class Form:
    """``what`` is special about a case of an operator."""

    operator: str
    what: str
    case: OperatorCase


def _floats(*values: float) -> npt.NDArray[Any]:
    return np.array(values, np.float32)


def _window(shape: Sequence[int], kernel: Sequence[int], **attributes: Any) -> OperatorCase:
    return OperatorCase((tuple(shape),), attributes={"kernel_shape": list(kernel), **attributes})


_CLASSES = {"labels": np.array([0, 2, 1, 1])}
_NO_REGION = {"roi": _floats()}
_WEIGHTED = OperatorCase(
    ((4, 3), (3,)), _CLASSES, operands=("h0", "labels", "h1"), low=0.5, high=2, is_loss=True
)
_SHRUNK = {"scales": _floats(1, 1, 2, 0.5)}
_SIMPLE = {"coordinate_transformation_mode": "asymmetric"}

FORMS = (
    Form("AveragePool", "1-d", _window((1, 2, 7), (3,))),
    Form("AveragePool", "3-d", _window((1, 2, 4, 3, 3), (2, 2, 2), strides=[2, 1, 1])),
    Form("AveragePool", "dilated", _window((1, 2, 7, 6), (2, 2), dilations=[2, 3])),
    Form("AveragePool", "partial windows", _window((1, 2, 6, 5), (3, 2), strides=[2, 2], ceil_mode=1)),
    Form("BatchNormalization", "opset 9", replace(BATCH_NORM, opset=9)),
    Form("Clip", "opset 9", OperatorCase(attributes={"min": -0.75}, opset=9)),
    Form(
        "Concat", "one operand twice", OperatorCase(((2, 3),), attributes={"axis": 0}, operands=("h0", "h0"))
    ),
    Form("Conv", "1-d", OperatorCase(((2, 3, 7), (4, 3, 3)), attributes={"dilations": [2], "pads": [2, 1]})),
    Form(
        "Conv",
        "3-d",
        OperatorCase(((1, 2, 4, 3, 5), (3, 2, 2, 2, 3), (3,)), attributes={"strides": [2, 1, 2]}),
    ),
    Form(
        "Conv",
        "depthwise",
        OperatorCase(
            ((2, 4, 5, 5), (8, 1, 3, 3)), attributes={"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}
        ),
    ),
    Form("Dropout", "opset 9", replace(DROPOUT, constants={}, attributes={"ratio": 0.25}, opset=9)),
    Form("Dropout", "opset 11", replace(DROPOUT, constants={}, attributes={"ratio": 0.25}, opset=11)),
    Form("Gather", "repeated", OperatorCase(((3, 4, 2),), {"indices": np.array([[0, 0], [2, 0]])})),
    Form("Gather", "scalar index", OperatorCase(((3, 4),), {"indices": np.array(1)}, {"axis": 1})),
    Form("Gelu", "exact", OperatorCase(attributes={"approximate": "none"})),
    Form("Gemm", "no C", OperatorCase(((4, 3), (3, 5)), attributes={"alpha": 2.0})),
    Form("Gemm", "C a row", OperatorCase(((4, 3), (3, 5), (5,)), attributes={"beta": 0.5})),
    Form("Gemm", "C a scalar", OperatorCase(((4, 3), (3, 5), ()))),
    Form("LayerNormalization", "no shift", OperatorCase(((2, 3, 4), (4,)), attributes={"epsilon": 0.01})),
    Form(
        "LogSoftmax",
        "opset 12",
        OperatorCase(
            ((2, 3, 1),), opset=12, in_onnx=("LogSoftmax", OperatorCase(((2, 3, 1),), attributes={"axis": 1}))
        ),
    ),
    Form("MatMul", "vector right", OperatorCase(((3, 4), (4,)))),
    Form("MatMul", "vector left", OperatorCase(((4,), (4, 3)))),
    Form("MatMul", "vectors", OperatorCase(((4,), (4,)), is_loss=True)),
    Form("MatMul", "one matrix left", OperatorCase(((1, 3, 4), (2, 4, 5)))),
    Form("MatMul", "one matrix right", OperatorCase(((2, 3, 4), (1, 4, 5)))),
    Form("MaxPool", "1-d", _window((1, 2, 7), (3,), strides=[2], pads=[1, 1])),
    Form("MaxPool", "3-d", _window((1, 2, 4, 3, 3), (2, 2, 2), strides=[2, 1, 1])),
    Form("MaxPool", "dilated", _window((1, 2, 7, 6), (2, 2), dilations=[2, 3])),
    Form("MaxPool", "partial windows", _window((1, 2, 6, 5), (3, 2), strides=[2, 2], ceil_mode=1)),
    Form("Mul", "square", OperatorCase(operands=("h0", "h0"))),
    Form("NegativeLogLikelihoodLoss", "weighted", _WEIGHTED),
    Form(
        "Pad",
        "opset 9",
        OperatorCase(
            attributes={"pads": [0, 2, -1, 1], "value": 1.5},
            opset=9,
            in_onnx=("Pad", OperatorCase(constants={"pads": integers(0, 2, -1, 1), "value": scalar(1.5)})),
        ),
    ),
    Form(
        "Pad",
        "reflected",
        OperatorCase(constants={"pads": integers(1, 2, 0, 3)}, attributes={"mode": "reflect"}),
    ),
    Form("Pad", "edge", OperatorCase(constants={"pads": integers(1, 2, 0, 3)}, attributes={"mode": "edge"})),
    Form("Pow", "cube", OperatorCase(constants={"exponent": np.array(3)})),
    Form("Pow", "of a constant", OperatorCase(constants={"base": scalar(2)}, operands=("base", "h0"))),
    Form("ReduceMax", "opset 13", OperatorCase(((2, 3, 4),), attributes={"axes": [0, 2]}, opset=13)),
    Form("ReduceMean", "opset 13", OperatorCase(((2, 3, 4),), attributes={"axes": [0, 2]}, opset=13)),
    Form("ReduceSum", "opset 11", OperatorCase(((2, 3, 4),), attributes={"axes": [0, 2]}, opset=11)),
    Form("ReduceSum", "all", OperatorCase(((2, 3, 4),))),
    Form(
        "Resize",
        "opset 10",
        OperatorCase(
            IMAGES,
            _SHRUNK,
            opset=10,
            in_onnx=(
                "Resize",
                OperatorCase(IMAGES, {**_NO_REGION, **_SHRUNK}, {**_SIMPLE, "nearest_mode": "floor"}),
            ),
        ),
    ),
    Form("Resize", "nearest", OperatorCase(IMAGES, {**_NO_REGION, **_SHRUNK}, {"mode": "nearest"})),
    Form(
        "Resize",
        "corners",
        OperatorCase(
            IMAGES,
            {**_NO_REGION, "scales": _floats(1, 1, 2, 1.5)},
            {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        ),
    ),
    Form(
        "Slice",
        "opset 9",
        OperatorCase(((3, 6),), attributes={"starts": [1], "ends": [-1], "axes": [1]}, opset=9),
    ),
    Form(
        "Softmax",
        "opset 12",
        OperatorCase(
            ((2, 3, 1),), opset=12, in_onnx=("Softmax", OperatorCase(((2, 3, 1),), attributes={"axis": 1}))
        ),
    ),
    Form(
        "SoftmaxCrossEntropyLoss",
        "sum",
        OperatorCase(((4, 3),), _CLASSES, {"reduction": "sum"}, is_loss=True),
    ),
    Form("SoftmaxCrossEntropyLoss", "by row", OperatorCase(((4, 3),), _CLASSES, {"reduction": "none"})),
    Form("SoftmaxCrossEntropyLoss", "weighted", _WEIGHTED),
    Form(
        "Split",
        "opset 11",
        OperatorCase(((3, 6),), attributes={"axis": 1}, opset=11, outputs=("y", "b", "c")),
    ),
    Form(
        "Split",
        "opset 13",
        OperatorCase(((3, 5),), {"split": integers(2, 3)}, {"axis": 1}, opset=13, outputs=("a", "y")),
    ),
    Form("Squeeze", "opset 11", OperatorCase(((3, 1, 4),), attributes={"axes": [1]}, opset=11)),
    Form("Unsqueeze", "opset 11", OperatorCase(attributes={"axes": [1]}, opset=11)),
    Form(
        "Upsample",
        "opset 8",
        OperatorCase(
            IMAGES,
            attributes={"scales": [1.0, 1.0, 2.0, 3.0]},
            opset=8,
            in_onnx=("Upsample", OperatorCase(IMAGES, {"scales": _floats(1, 1, 2, 3)}, opset=9)),
        ),
    ),
    Form(
        "Where",
        "broadcast",
        OperatorCase(
            ((1, 4), (3, 1)),
            {"condition": np.arange(12).reshape(3, 4) % 3 == 0},
            operands=("condition", "h1", "h0"),
        ),
    ),
)
