"""Which kernel of :mod:`flexc.numerics` computes an op: one table for constant folding and the executor.

Keywords of a call are the op's attributes under their own names, and what its result type says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import IRDLOperation

from flexc.ir import bfp, lightnorm, nn, train
from flexc.ir.attributes import Literal, literal
from flexc.ir.shapes import Element
from flexc.ir.tensor_op import spec_of

ACTIVATION_PARAMETERS: dict[str, tuple[str, ...]] = {
    "clip": ("minimum", "maximum"),
    "gelu_tanh": (),
    "gelu": (),
    "hard_sigmoid": ("alpha", "beta"),
    "hard_swish": (),
    "leaky_relu": ("alpha",),
    "none": (),
    "relu": (),
    "sigmoid": (),
    "tanh": (),
}


NUMPY_NAMES: dict[Element, str] = {"f32": "float32", "i64": "int64", "i32": "int32", "i1": "bool"}
"""What NumPy calls the element types."""


@dataclass(frozen=True)
class KernelCall:
    """``function(*operands, **keywords)``, then ``activation`` on its result where there is one.

    An operand that the op lacks (a bias, say) is None. For an op of several results the function gives a
    tuple of them.
    """

    function: str
    operands: tuple[SSAValue | None, ...]
    keywords: tuple[tuple[str, Literal], ...]
    activation: tuple[str, tuple[tuple[str, Literal], ...]] | None = None


def _attributes(op: IRDLOperation) -> tuple[tuple[str, Literal], ...]:
    names = (name for name in type(op).get_irdl_definition().attributes if name not in ("source", "key"))
    return tuple((name, literal(op.attributes[name])) for name in names)


def _plain(function: str) -> Callable[[IRDLOperation], KernelCall]:
    return lambda op: KernelCall(function, tuple(op.operands), _attributes(op))


def _of_shape(function: str, keyword: str) -> Callable[[IRDLOperation], KernelCall]:
    """A call that takes the shape of its result under ``keyword``, before the attributes."""

    def call(op: IRDLOperation) -> KernelCall:
        shape = spec_of(op.results[0].type).shape
        return KernelCall(function, tuple(op.operands), ((keyword, shape), *_attributes(op)))

    return call


def _shaped(function: str) -> Callable[[IRDLOperation], KernelCall]:
    def call(op: IRDLOperation) -> KernelCall:
        (result_type,) = op.result_types
        assert isinstance(result_type, TensorType)
        return KernelCall(function, tuple(op.operands), (("shape", tuple(result_type.get_shape())),))

    return call


def _cast(op: IRDLOperation) -> KernelCall:
    return KernelCall("cast", tuple(op.operands), (("to", NUMPY_NAMES[spec_of(op.results[0].type).element]),))


def _layer_norm(op: IRDLOperation) -> KernelCall:
    assert isinstance(op, nn.LayerNormOp)
    return KernelCall("layer_norm", (op.x, op.gamma, op.beta), _attributes(op))


def _quantize(op: IRDLOperation) -> KernelCall:
    assert isinstance(op, bfp.QuantizeOp)
    result_type = op.out.type
    assert isinstance(result_type, bfp.BlockTensorType)
    keywords: list[tuple[str, Literal]] = [
        ("mantissa_bits", result_type.mantissa_bits.data),
        ("tile", result_type.get_tile()),
        ("sign", result_type.sign.data),
        ("rounding", op.rounding.data),
    ]
    if op.rounding.data == "stochastic" and op.step is not None:
        keywords += [("seed", literal(op.seed)), ("node", literal(op.stream))]
        return KernelCall("quantize_in_step", (op.x, op.step), tuple(keywords))
    if op.rounding.data == "stochastic":
        keywords += [("seed", literal(op.seed)), ("stream", literal(op.stream))]
    return KernelCall("quantize", (op.x,), tuple(keywords))


def activation_call(
    name: str, parameters: tuple[float, ...]
) -> tuple[str, tuple[tuple[str, Literal], ...]] | None:
    """The kernel and keywords of an activation fused into another op (None for "none")."""
    if name == "none":
        return None
    if name in ("gelu", "gelu_tanh"):
        return "gelu", (("approximate", "tanh" if name == "gelu_tanh" else "none"),)
    return name, tuple(zip(ACTIVATION_PARAMETERS[name], parameters, strict=True))


def _lightnorm_infer(op: IRDLOperation) -> KernelCall:
    assert isinstance(op, lightnorm.InferOp)
    parameters = literal(op.activation_parameters)
    assert isinstance(parameters, tuple)
    return KernelCall(
        "lightnorm_infer",
        (op.x, op.gamma, op.beta, op.mean, op.var),
        (("eps", literal(op.eps)), ("rounding", op.rounding.data)),
        activation_call(op.activation.data, tuple(float(value) for value in parameters)),
    )


KERNEL_CALLS: dict[type[Operation], Callable[[IRDLOperation], KernelCall]] = {
    nn.AbsOp: _plain("absolute"),
    nn.AddOp: _plain("add"),
    nn.AveragePoolGradOp: _of_shape("average_pool_grad", "x_shape"),
    nn.AveragePoolOp: _plain("average_pool"),
    nn.BatchNormOp: _plain("batch_norm"),
    nn.CastOp: _cast,
    nn.ClipOp: _plain("clip"),
    nn.ConcatOp: _plain("concat"),
    nn.ConvLocalGradOp: _of_shape("conv_local_grad", "x_shape"),
    nn.ConvOp: _plain("conv"),
    nn.ConvWeightGradOp: _of_shape("conv_weight_grad", "w_shape"),
    nn.DivOp: _plain("div"),
    nn.EqualOp: _plain("equal"),
    nn.ErfOp: _plain("erf"),
    nn.ExpOp: _plain("exp"),
    nn.ExpandOp: _shaped("expand"),
    nn.FloorOp: _plain("floor"),
    nn.GatherGradOp: _of_shape("gather_grad", "x_shape"),
    nn.GatherOp: _plain("gather"),
    nn.GeluOp: _plain("gelu"),
    nn.GreaterOp: _plain("greater"),
    nn.HardSigmoidOp: _plain("hard_sigmoid"),
    nn.HardSwishOp: _plain("hard_swish"),
    nn.LayerNormOp: _layer_norm,
    nn.LeakyReluOp: _plain("leaky_relu"),
    nn.LessOp: _plain("less"),
    nn.LogOp: _plain("log"),
    nn.LogSoftmaxOp: _plain("log_softmax"),
    nn.MatMulOp: _plain("matmul"),
    nn.MaxPoolGradOp: _plain("max_pool_grad"),
    nn.MaxPoolOp: _plain("max_pool"),
    nn.MaximumOp: _plain("maximum"),
    nn.MinimumOp: _plain("minimum"),
    nn.MulOp: _plain("mul"),
    nn.NegOp: _plain("neg"),
    nn.PadOp: _plain("pad"),
    nn.PowOp: _plain("power"),
    nn.ReciprocalOp: _plain("reciprocal"),
    nn.ReduceMaxGradOp: _plain("reduce_max_grad"),
    nn.ReduceMaxOp: _plain("reduce_max"),
    nn.ReduceMeanOp: _plain("reduce_mean"),
    nn.ReduceSumOp: _plain("reduce_sum"),
    nn.ReluOp: _plain("relu"),
    nn.ReshapeOp: _shaped("reshape"),
    nn.SigmoidOp: _plain("sigmoid"),
    nn.SliceOp: _plain("strided_slice"),
    nn.SoftmaxOp: _plain("softmax"),
    nn.SqrtOp: _plain("sqrt"),
    nn.SubOp: _plain("sub"),
    nn.TanhOp: _plain("tanh"),
    nn.TransposeOp: _plain("transpose"),
    nn.WhereOp: _plain("where"),
    bfp.ConvLocalGradOp: _of_shape("block_conv_local_grad", "x_shape"),
    bfp.ConvOp: _plain("block_conv"),
    bfp.ConvWeightGradOp: _of_shape("block_conv_weight_grad", "w_shape"),
    bfp.DequantizeOp: _plain("dequantize"),
    bfp.MatMulOp: _plain("block_matmul"),
    bfp.QuantizeOp: _quantize,
    lightnorm.BackwardOp: _plain("lightnorm_train_grad"),
    lightnorm.ForwardOp: _plain("lightnorm_train"),
    lightnorm.InferOp: _lightnorm_infer,
    lightnorm.NormalizeOp: _plain("lightnorm_train_normalize"),
    lightnorm.StatisticsOp: _plain("lightnorm_train_statistics"),
    train.BatchNormGradOp: _plain("batch_norm_grad"),
    train.BatchNormOp: _plain("batch_norm_train"),
    train.DropoutMaskOp: _of_shape("dropout_mask", "shape"),
    train.DropoutOp: _shaped("reshape"),
}


TRAINING_OPS: frozenset[type[Operation]] = frozenset(
    {
        *train.TRAIN.operations,
        bfp.ConvLocalGradOp,
        bfp.ConvWeightGradOp,
        lightnorm.BackwardOp,
        lightnorm.ForwardOp,
        lightnorm.NormalizeOp,
        lightnorm.StatisticsOp,
        nn.AveragePoolGradOp,
        nn.ConvLocalGradOp,
        nn.ConvWeightGradOp,
        nn.GatherGradOp,
        nn.MaxPoolGradOp,
        nn.ReduceMaxGradOp,
    }
)
"""Ops that only training steps hold."""


def kernel_call(op: Operation) -> KernelCall:
    """The call that computes ``op``; KeyError for an op that no kernel computes (constants, returns)."""
    assert isinstance(op, IRDLOperation)
    return KERNEL_CALLS[type(op)](op)
