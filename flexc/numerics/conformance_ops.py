"""The operations that vector files name, each as a call of a kernel (specification, section 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import BlockTensor
from flexc.numerics.contraction import block_matmul
from flexc.numerics.contraction_reference import block_matmul_reference
from flexc.numerics.convolution import block_conv
from flexc.numerics.convolution_gradients import block_conv_local_grad, block_conv_weight_grad
from flexc.numerics.convolution_reference import (
    block_conv_local_grad_reference,
    block_conv_reference,
    block_conv_weight_grad_reference,
)
from flexc.numerics.lightnorm import lightnorm_infer
from flexc.numerics.lightnorm_results import LightNormForward
from flexc.numerics.lightnorm_training import lightnorm_backward, lightnorm_forward
from flexc.numerics.lightnorm_truncation import bfp10
from flexc.numerics.minifloat import minifloat
from flexc.numerics.quantization import quantize, zero_setting_error
from flexc.numerics.quantization_reference import quantize_reference
from flexc.numerics.vector import lane_sum

Arrays = Mapping[str, NDArray[Any]]
Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Kernels:
    """The kernels of which there are two: a fast one, and a reference that follows the text."""

    quantize: Callable[..., BlockTensor]
    matmul: Callable[..., NDArray[np.float32]]
    conv: Callable[..., NDArray[np.float32]]
    conv_local_grad: Callable[..., NDArray[np.float32]]
    conv_weight_grad: Callable[..., NDArray[np.float32]]


FAST = Kernels(quantize, block_matmul, block_conv, block_conv_local_grad, block_conv_weight_grad)
REFERENCE = Kernels(
    quantize_reference,
    block_matmul_reference,
    block_conv_reference,
    block_conv_local_grad_reference,
    block_conv_weight_grad_reference,
)


@dataclass(frozen=True)
class Operation:
    """The arrays and attributes that a vector must give, and the call that makes the results by name."""

    inputs: frozenset[str]
    attributes: frozenset[str]
    run: Callable[[Kernels, Attributes, Arrays], Mapping[str, NDArray[Any]]]


def _quantize(kernels: Kernels, attributes: Attributes, inputs: Arrays) -> Mapping[str, NDArray[Any]]:
    t = kernels.quantize(inputs["x"], **attributes)
    return {"mantissa": t.mantissa.astype(np.int32), "exponent": t.exponent, "value": t.values}


def _zse(kernels: Kernels, attributes: Attributes, inputs: Arrays) -> Mapping[str, NDArray[Any]]:
    return {"zse": np.array(zero_setting_error(inputs["x"], **attributes))}


def _operand(kernels: Kernels, attributes: Attributes, inputs: Arrays, name: str) -> BlockTensor:
    quantizer = attributes[f"format_{name}"]
    return kernels.quantize(inputs[name], tile=attributes[f"tile_{name}"], **quantizer)


_OPERAND_ATTRIBUTES = ("format_a", "format_b", "tile_a", "tile_b")


def _contraction(
    kernel: Callable[[Kernels], Callable[..., NDArray[np.float32]]], *attribute_names: str
) -> Operation:
    def run(kernels: Kernels, attributes: Attributes, inputs: Arrays) -> Mapping[str, NDArray[Any]]:
        a = _operand(kernels, attributes, inputs, "a")
        b = _operand(kernels, attributes, inputs, "b")
        own = {name: attributes[name] for name in attribute_names}
        return {"y": kernel(kernels)(a, b, **own)}

    return Operation(frozenset("ab"), frozenset((*_OPERAND_ATTRIBUTES, *attribute_names)), run)


def _of_x(
    kernel: Callable[..., NDArray[np.float32]], *attribute_names: str, other_inputs: tuple[str, ...] = ()
) -> Operation:
    def run(kernels: Kernels, attributes: Attributes, inputs: Arrays) -> Mapping[str, NDArray[Any]]:
        return {"y": np.asarray(kernel(**inputs, **attributes))}

    return Operation(frozenset(("x", *other_inputs)), frozenset(attribute_names), run)


def _lane_sum(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return lane_sum(x)


def _forward(attributes: Attributes, inputs: Arrays) -> LightNormForward:
    return lightnorm_forward(inputs["x"], inputs["gamma"], inputs["beta"], **attributes)


def _lightnorm_forward(
    kernels: Kernels, attributes: Attributes, inputs: Arrays
) -> Mapping[str, NDArray[Any]]:
    result = _forward(attributes, inputs)
    return {name: getattr(result, name) for name in ("y", "xhat", "mean", "scale", "argmax", "argmin")}


def _lightnorm_backward(
    kernels: Kernels, attributes: Attributes, inputs: Arrays
) -> Mapping[str, NDArray[Any]]:
    saved = _forward(attributes, inputs)
    dx, dgamma, dbeta = lightnorm_backward(inputs["g"], saved, rounding=attributes["rounding"])
    return {"dx": dx, "dgamma": dgamma, "dbeta": dbeta}


_CONV_ATTRIBUTES = ("stride", "pads", "dilation", "group")
_QUANTIZER_ATTRIBUTES = frozenset(("mantissa_bits", "sign", "rounding", "tile", "seed", "stream"))
_LIGHTNORM_ATTRIBUTES = frozenset(("eps", "num_chunks", "rounding"))

OPERATIONS: Mapping[str, Operation] = {
    "quantize": Operation(frozenset("x"), _QUANTIZER_ATTRIBUTES, _quantize),
    "zse": Operation(frozenset("x"), frozenset(("mantissa_bits", "sign", "tile", "count_zeros")), _zse),
    "gemm": _contraction(lambda kernels: kernels.matmul),
    "conv_forward": _contraction(lambda kernels: kernels.conv, *_CONV_ATTRIBUTES),
    "conv_local_grad": _contraction(lambda kernels: kernels.conv_local_grad, "x_shape", *_CONV_ATTRIBUTES),
    "conv_weight_grad": _contraction(lambda kernels: kernels.conv_weight_grad, "w_shape", *_CONV_ATTRIBUTES),
    "lane_sum": _of_x(_lane_sum),
    "minifloat": _of_x(minifloat, "exponent_bits", "fraction_bits", "rounding"),
    "bfp10": _of_x(bfp10, "bits"),
    "lightnorm_forward": Operation(
        frozenset(("x", "gamma", "beta")), _LIGHTNORM_ATTRIBUTES, _lightnorm_forward
    ),
    "lightnorm_backward": Operation(
        frozenset(("x", "gamma", "beta", "g")), _LIGHTNORM_ATTRIBUTES, _lightnorm_backward
    ),
    "lightnorm_infer": _of_x(
        lightnorm_infer, "eps", "rounding", other_inputs=("gamma", "beta", "mean", "var")
    ),
}
