"""Every operator that the importer knows, in a training step: a small model to train through, or why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

from flexc import numerics
from tests.onnx_models import build, make_node

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
NODE = "tested"


class Untrained(Enum):
    """Why no gradient passes an operator."""

    TRUTH_VALUES = "its result is true or false"
    STEPS = "its result is constant almost everywhere"
    NO_ELEMENTS = "its result does not depend on elements"
    KNOWN_OPERANDS = "its operands must be known when the model is imported"


@dataclass(frozen=True)
class OperatorCase:
    """A node whose first operands h0, h1, ... are of ``shapes``: inputs x0, ... and parameters p0, ... added.

    ``low`` and ``high`` bound the elements of h; ``compared``: the operands are h > 0 in their place.
    ``constants`` are further operands, behind those unless ``operands`` says otherwise. ``outputs`` are the
    node's results; ``is_loss``: y is a loss. ``in_onnx`` is an operator, and its case, that computes by
    itself what this one does in a training step.
    """

    shapes: tuple[Shape, ...] = ((3, 4),)
    constants: Mapping[str, Array] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    low: float = -2.0
    high: float = 2.0
    opset: int = 20
    outputs: Sequence[str] = ("y",)
    is_loss: bool = False
    compared: bool = False
    operands: Sequence[str] = ()
    in_onnx: tuple[str, OperatorCase] | None = None
    untrained: Untrained | None = None

    def inputs(self) -> dict[str, Array]:
        """x0, x1, ..."""
        return self._parts("x")

    def parameters(self) -> dict[str, Array]:
        """p0, p1, ..."""
        return self._parts("p")

    def _parts(self, letter: str) -> dict[str, Array]:
        """Elements of h lie well apart from each other and from where functions bend."""
        rng = np.random.default_rng(5)
        found = {}
        for i, shape in enumerate(self.shapes):
            size = int(np.prod(shape))
            steps = (rng.permutation(size) + rng.uniform(0.3, 0.7, size)) / size
            h = (self.low + steps * (self.high - self.low)).reshape(shape)
            p = rng.uniform(-1, 1, shape)
            found[f"{letter}{i}"] = np.asarray(p if letter == "p" else h - p, np.float32)
        return found

    def model(self, operator: str) -> onnx.ModelProto:
        """Output y: the node's, as fp32."""
        operands = [f"h{i}" for i in range(len(self.shapes))]
        nodes = [make_node("Add", [f"x{h[1:]}", f"p{h[1:]}"], [h], name=f"sum_{h}") for h in operands]
        constants = {**self.parameters(), **self.constants}
        if self.compared:
            nodes += [make_node("Greater", [h, "zero"], [f"{h}_positive"]) for h in operands]
            operands = [f"{h}_positive" for h in operands]
            constants["zero"] = np.zeros((), np.float32)
        outputs = self.outputs
        behind = []
        if self.untrained in (Untrained.TRUTH_VALUES, Untrained.NO_ELEMENTS):
            outputs = ("found",)
            behind = [make_node("Cast", ["found"], ["y"], to=onnx.TensorProto.FLOAT)]
        operands = list(self.operands) or [*operands, *self.constants]
        node = make_node(operator, operands, outputs, name=NODE, **self.attributes)
        return build([*nodes, node, *behind], self.inputs(), constants, opset=self.opset)


def integers(*values: int) -> Array:
    """A vector of int64."""
    return np.array(values, np.int64)


def scalar(value: float) -> Array:
    """An fp32 of rank 0."""
    return np.array(value, np.float32)


UNARY = OperatorCase()
BROADCAST = OperatorCase(((3, 1, 5), (4, 1)))
POSITIVE = OperatorCase(low=0.4, high=3.0)
IMAGES = ((2, 3, 5, 4),)
POOL = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
TRUTH = OperatorCase(((3, 4), (4,)), untrained=Untrained.TRUTH_VALUES)
LOGIC = OperatorCase(((3, 4), (4,)), compared=True, untrained=Untrained.TRUTH_VALUES)
KNOWN = OperatorCase(untrained=Untrained.KNOWN_OPERANDS)
LABELS = {"labels": np.array([[0, 2], [1, -100], [2, 2]])}

_NORMED = OperatorCase(
    ((4, 3, 3, 2), (3,), (3,)),
    {"mean": np.zeros(3, np.float32), "var": np.ones(3, np.float32)},
    {"epsilon": 0.01},
)
BATCH_NORM = replace(
    _NORMED,
    in_onnx=("BatchNormalization", replace(_NORMED, attributes={"epsilon": 0.01, "training_mode": 1})),
)
_KEPT = numerics.random_bits((6, 8), seed=0, stream=4096 + 4095) >= 1 << 14
"""Of the first dropout in step 1 (numerics specification, section 3.8)."""
DROPOUT = OperatorCase(
    ((6, 8),),
    {"ratio": scalar(0.25)},
    in_onnx=("Mul", OperatorCase(((6, 8),), {"mask": np.asarray(_KEPT / 0.75, np.float32)})),
)

OPERATOR_CASES: Mapping[str, OperatorCase] = {
    "Abs": UNARY,
    "Add": BROADCAST,
    "And": LOGIC,
    "AveragePool": OperatorCase(IMAGES, attributes={**POOL, "count_include_pad": 1}),
    "BatchNormalization": BATCH_NORM,
    "Cast": OperatorCase(attributes={"to": onnx.TensorProto.FLOAT}),
    "Clip": OperatorCase(constants={"low": scalar(-0.75), "high": scalar(1.25)}),
    "Concat": OperatorCase(((2, 3), (2, 2), (2, 1)), attributes={"axis": 1}),
    "Constant": OperatorCase((), attributes={"value_floats": [1.0, 2.0]}, untrained=Untrained.NO_ELEMENTS),
    "ConstantOfShape": KNOWN,
    "Conv": OperatorCase(
        ((2, 4, 5, 4), (6, 2, 3, 2), (6,)), attributes={"strides": [2, 1], "pads": [1, 0, 1, 1], "group": 2}
    ),
    "Div": OperatorCase(((3, 1, 5), (4, 1)), low=0.5, high=3.0),
    "Dropout": DROPOUT,
    "Equal": TRUTH,
    "Erf": UNARY,
    "Exp": UNARY,
    "Expand": OperatorCase(((3, 1),), {"shape": integers(2, 1, 4)}),
    "Flatten": OperatorCase(((2, 3, 4),), attributes={"axis": 2}),
    "Floor": OperatorCase(untrained=Untrained.STEPS),
    "Gather": OperatorCase(((3, 4),), {"indices": np.array([[1, 3], [-1, 1]])}, {"axis": 1}),
    "Gelu": OperatorCase(attributes={"approximate": "tanh"}),
    "Gemm": OperatorCase(
        ((4, 3), (5, 4), (3, 1)), attributes={"alpha": 0.5, "beta": 2.0, "transA": 1, "transB": 1}
    ),
    "GlobalAveragePool": OperatorCase(IMAGES),
    "GlobalMaxPool": OperatorCase(IMAGES),
    "Greater": TRUTH,
    "GreaterOrEqual": TRUTH,
    "HardSigmoid": OperatorCase(low=-4.0, high=4.0),
    "HardSwish": OperatorCase(low=-5.0, high=5.0),
    "Identity": UNARY,
    # As many images as channels: onnx's own loops over the images where it means the channels.
    "LRN": OperatorCase(((5, 5, 2, 1),), attributes={"size": 4, "alpha": 0.5, "beta": 0.75, "bias": 2.0}),
    "LayerNormalization": OperatorCase(((2, 3, 4), (3, 4), (3, 4)), attributes={"axis": 1, "epsilon": 1e-2}),
    "LeakyRelu": OperatorCase(attributes={"alpha": 0.2}),
    "Less": TRUTH,
    "LessOrEqual": TRUTH,
    "Log": POSITIVE,
    "LogSoftmax": OperatorCase(((3, 4, 2),), attributes={"axis": 1}),
    "MatMul": OperatorCase(((2, 1, 3, 4), (3, 4, 2))),
    "Max": OperatorCase(((3, 4), (4,), (3, 1))),
    "MaxPool": OperatorCase(IMAGES, attributes=POOL),
    "Mean": OperatorCase(((3, 4), (4,), (3, 1))),
    "Min": OperatorCase(((3, 4), (4,), (3, 1))),
    "Mod": OperatorCase(((3, 4), (4,)), attributes={"fmod": 1}, untrained=Untrained.KNOWN_OPERANDS),
    "Mul": BROADCAST,
    "Neg": UNARY,
    "NegativeLogLikelihoodLoss": OperatorCase(((3, 4, 2),), LABELS, {"ignore_index": -100}, is_loss=True),
    "NonZero": KNOWN,
    "Not": OperatorCase(compared=True, untrained=Untrained.TRUTH_VALUES),
    "Or": LOGIC,
    "Pad": OperatorCase(((3, 4),), {"pads": integers(0, 2, -1, 1), "value": scalar(3)}),
    "Pow": OperatorCase(((3, 1, 5), (4, 1)), low=0.4, high=2.5),
    "Range": OperatorCase(((), (), ()), untrained=Untrained.KNOWN_OPERANDS),
    "Reciprocal": POSITIVE,
    "ReduceMax": OperatorCase(((3, 4, 2),), {"axes": integers(0, 2)}),
    "ReduceMean": OperatorCase(((3, 4, 2),), {"axes": integers(1)}, {"keepdims": 0}),
    "ReduceMin": KNOWN,
    "ReduceProd": KNOWN,
    "ReduceSum": OperatorCase(((3, 4, 2),), {"axes": integers(0, -1)}),
    "Relu": UNARY,
    "Reshape": OperatorCase(((3, 4),), {"shape": integers(2, -1)}),
    "Resize": OperatorCase(
        IMAGES,
        {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 1.5], np.float32)},
        {"mode": "linear"},
    ),
    "Shape": OperatorCase(untrained=Untrained.NO_ELEMENTS),
    "Sigmoid": OperatorCase(low=-5.0, high=5.0),
    "Size": OperatorCase(is_loss=True, untrained=Untrained.NO_ELEMENTS),
    "Slice": OperatorCase(
        ((3, 6),),
        {"starts": integers(4), "ends": integers(-7), "axes": integers(1), "steps": integers(-2)},
    ),
    "Softmax": OperatorCase(((3, 4, 2),), attributes={"axis": 1}),
    "SoftmaxCrossEntropyLoss": OperatorCase(((3, 4, 2),), LABELS, {"ignore_index": -100}, is_loss=True),
    "Split": OperatorCase(((3, 5),), {"split": integers(2, 3)}, {"axis": 1}, outputs=("first", "y")),
    "Sqrt": POSITIVE,
    "Squeeze": OperatorCase(((3, 1, 4),), {"axes": integers(1)}),
    "Sub": BROADCAST,
    "Sum": OperatorCase(((3, 4), (4,), (3, 1))),
    "Tanh": UNARY,
    "Tile": OperatorCase(constants={"repeats": integers(2, 1)}, untrained=Untrained.KNOWN_OPERANDS),
    "Transpose": OperatorCase(((2, 3, 4),), attributes={"perm": [1, 2, 0]}),
    "Unsqueeze": OperatorCase(((3, 4),), {"axes": integers(0, 2)}),
    "Upsample": OperatorCase(IMAGES, {"scales": np.array([1, 1, 2, 3], np.float32)}, opset=9),
    "Where": OperatorCase(
        ((3, 4), (4,)),
        {"condition": np.arange(12).reshape(3, 4) % 3 == 0},
        operands=("condition", "h0", "h1"),
    ),
}
