"""The kernels of every operator: pure NumPy, no IR (see docs/numerics.md)."""

from flexc.numerics.dense import conv, matmul
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
from flexc.numerics.movement import cast, concat, expand, gather, pad, reshape, strided_slice, transpose
from flexc.numerics.normalization import batch_norm, layer_norm, log_softmax, softmax
from flexc.numerics.pooling import average_pool, max_pool
from flexc.numerics.reductions import reduce_max, reduce_mean, reduce_sum
from flexc.numerics.vector import add, div, equal, greater, lane_sum, less, maximum, minimum, mul, sub, where

__all__ = [
    "absolute",
    "add",
    "average_pool",
    "batch_norm",
    "cast",
    "clip",
    "concat",
    "conv",
    "div",
    "equal",
    "erf",
    "exp",
    "expand",
    "floor",
    "gather",
    "gelu",
    "greater",
    "hard_sigmoid",
    "hard_swish",
    "lane_sum",
    "layer_norm",
    "leaky_relu",
    "less",
    "log",
    "log_softmax",
    "matmul",
    "max_pool",
    "maximum",
    "minimum",
    "mul",
    "neg",
    "pad",
    "power",
    "reciprocal",
    "reduce_max",
    "reduce_mean",
    "reduce_sum",
    "relu",
    "reshape",
    "sigmoid",
    "softmax",
    "sqrt",
    "strided_slice",
    "sub",
    "tanh",
    "transpose",
    "where",
]
