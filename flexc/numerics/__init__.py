"""The kernels of every operator: pure NumPy, no IR (see docs/numerics.md)."""

from flexc.numerics.block_float import (
    FB12,
    FB16,
    FB24,
    GROUP_LENGTH,
    BlockFormat,
    BlockTensor,
    Rounding,
    Sign,
    dequantize,
)
from flexc.numerics.contraction import block_matmul
from flexc.numerics.contraction_reference import block_matmul_reference
from flexc.numerics.convolution import block_conv
from flexc.numerics.convolution_gradients import block_conv_local_grad, block_conv_weight_grad
from flexc.numerics.convolution_reference import (
    block_conv_local_grad_reference,
    block_conv_reference,
    block_conv_weight_grad_reference,
)
from flexc.numerics.dense import conv, matmul
from flexc.numerics.errors import NonFiniteError
from flexc.numerics.fp10_codes import pack_fp10, unpack_fp10
from flexc.numerics.functions import erf, exp, log, sigmoid, tanh
from flexc.numerics.functions_gelu import gelu
from flexc.numerics.functions_piecewise import (
    absolute,
    clip,
    floor,
    hard_sigmoid,
    hard_swish,
    leaky_relu,
    neg,
    reciprocal,
    relu,
    sqrt,
)
from flexc.numerics.functions_power import power
from flexc.numerics.gradients_dense import conv_local_grad, conv_weight_grad
from flexc.numerics.gradients_movement import gather_grad
from flexc.numerics.gradients_pooling import average_pool_grad, max_pool_grad, reduce_max_grad
from flexc.numerics.lightnorm import (
    lightnorm_infer,
    lightnorm_infer_constants,
    lightnorm_normalize,
    lightnorm_range_constants,
    running_statistic,
)
from flexc.numerics.lightnorm_constants import range_constant
from flexc.numerics.lightnorm_results import LightNormForward
from flexc.numerics.lightnorm_training import lightnorm_backward, lightnorm_forward
from flexc.numerics.lightnorm_truncation import bfp10
from flexc.numerics.minifloat import minifloat
from flexc.numerics.movement import cast, concat, expand, gather, pad, reshape, strided_slice, transpose
from flexc.numerics.normalization import batch_norm, layer_norm, log_softmax, softmax
from flexc.numerics.pooling import average_pool, max_pool
from flexc.numerics.quantization import quantize, zero_setting_error
from flexc.numerics.quantization_reference import quantize_reference
from flexc.numerics.random_bits import random_bits, stream_of
from flexc.numerics.reductions import reduce_max, reduce_mean, reduce_sum
from flexc.numerics.training_lightnorm import (
    lightnorm_train,
    lightnorm_train_grad,
    lightnorm_train_normalize,
    lightnorm_train_statistics,
)
from flexc.numerics.training_normalization import batch_norm_grad, batch_norm_train
from flexc.numerics.training_random import dropout_mask, quantize_in_step
from flexc.numerics.vector import add, div, equal, greater, lane_sum, less, maximum, minimum, mul, sub, where

__all__ = [
    "FB12",
    "FB16",
    "FB24",
    "GROUP_LENGTH",
    "BlockFormat",
    "BlockTensor",
    "LightNormForward",
    "NonFiniteError",
    "Rounding",
    "Sign",
    "absolute",
    "add",
    "average_pool",
    "average_pool_grad",
    "batch_norm",
    "batch_norm_grad",
    "batch_norm_train",
    "bfp10",
    "block_conv",
    "block_conv_local_grad",
    "block_conv_local_grad_reference",
    "block_conv_reference",
    "block_conv_weight_grad",
    "block_conv_weight_grad_reference",
    "block_matmul",
    "block_matmul_reference",
    "cast",
    "clip",
    "concat",
    "conv",
    "conv_local_grad",
    "conv_weight_grad",
    "dequantize",
    "div",
    "dropout_mask",
    "equal",
    "erf",
    "exp",
    "expand",
    "floor",
    "gather",
    "gather_grad",
    "gelu",
    "greater",
    "hard_sigmoid",
    "hard_swish",
    "lane_sum",
    "layer_norm",
    "leaky_relu",
    "less",
    "lightnorm_backward",
    "lightnorm_forward",
    "lightnorm_infer",
    "lightnorm_infer_constants",
    "lightnorm_normalize",
    "lightnorm_range_constants",
    "lightnorm_train",
    "lightnorm_train_grad",
    "lightnorm_train_normalize",
    "lightnorm_train_statistics",
    "log",
    "log_softmax",
    "matmul",
    "max_pool",
    "max_pool_grad",
    "maximum",
    "minifloat",
    "minimum",
    "mul",
    "neg",
    "pack_fp10",
    "pad",
    "power",
    "quantize",
    "quantize_in_step",
    "quantize_reference",
    "random_bits",
    "range_constant",
    "reciprocal",
    "reduce_max",
    "reduce_max_grad",
    "reduce_mean",
    "reduce_sum",
    "relu",
    "reshape",
    "running_statistic",
    "sigmoid",
    "softmax",
    "sqrt",
    "stream_of",
    "strided_slice",
    "sub",
    "tanh",
    "transpose",
    "unpack_fp10",
    "where",
    "zero_setting_error",
]
