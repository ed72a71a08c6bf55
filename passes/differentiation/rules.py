"""The table of gradient rules: one a class of op."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.ir import Operation

from flexc.ir import nn, train
from flexc.passes.differentiation import contractions, elementwise, movement, normalization, reductions
from flexc.passes.differentiation.reverse import Rule

GRADIENT_RULES: Mapping[type[Operation], Rule] = {
    nn.AbsOp: elementwise.absolute,
    nn.AddOp: elementwise.add,
    nn.AveragePoolOp: reductions.average_pool,
    nn.BatchNormOp: normalization.batch_norm,
    nn.CastOp: movement.cast,
    nn.ClipOp: elementwise.clip,
    nn.ConcatOp: movement.concat,
    nn.ConvOp: contractions.conv,
    nn.DivOp: elementwise.div,
    nn.ErfOp: elementwise.erf,
    nn.ExpOp: elementwise.exp,
    nn.ExpandOp: movement.expand,
    nn.FloorOp: elementwise.no_gradient,
    nn.GatherOp: movement.gather,
    nn.GeluOp: elementwise.gelu,
    nn.HardSigmoidOp: elementwise.hard_sigmoid,
    nn.HardSwishOp: elementwise.hard_swish,
    nn.LayerNormOp: normalization.layer_norm,
    nn.LeakyReluOp: elementwise.leaky_relu,
    nn.LogOp: elementwise.log,
    nn.LogSoftmaxOp: normalization.log_softmax,
    nn.MatMulOp: contractions.matmul,
    nn.MaxPoolOp: reductions.max_pool,
    nn.MaximumOp: elementwise.maximum,
    nn.MinimumOp: elementwise.minimum,
    nn.MulOp: elementwise.mul,
    nn.NegOp: elementwise.negate,
    nn.PadOp: movement.pad,
    nn.PowOp: elementwise.power,
    nn.ReciprocalOp: elementwise.reciprocal,
    nn.ReduceMaxOp: reductions.reduce_max,
    nn.ReduceMeanOp: reductions.reduce_mean,
    nn.ReduceSumOp: reductions.reduce_sum,
    nn.ReluOp: elementwise.relu,
    nn.ReshapeOp: movement.reshape,
    nn.SigmoidOp: elementwise.sigmoid,
    nn.SliceOp: movement.strided_slice,
    nn.SoftmaxOp: normalization.softmax,
    nn.SqrtOp: elementwise.square_root,
    nn.SubOp: elementwise.sub,
    nn.TanhOp: elementwise.tanh,
    nn.TransposeOp: movement.transpose,
    nn.WhereOp: elementwise.where,
    train.BatchNormOp: normalization.batch_norm_of_batch,
}
