"""Reductions and pooling in the ``nn`` dialect."""

from __future__ import annotations

from xdsl.irdl import attr_def, irdl_op_definition

from flexc.ir import window_shapes
from flexc.ir.nn.base import INTEGER, INTEGERS, ReduceOp, UnaryOp


@irdl_op_definition
class ReduceMeanOp(ReduceOp):
    """Lane sum divided by the count."""

    name = "nn.reduce_mean"


@irdl_op_definition
class ReduceSumOp(ReduceOp):
    """Lane sum."""

    name = "nn.reduce_sum"


@irdl_op_definition
class ReduceMaxOp(ReduceOp):
    """Largest value."""

    name = "nn.reduce_max"


class PoolOp(UnaryOp):
    """A window over the spatial dimensions; ``ceil_mode`` rounds the output's extent up."""

    kernel = attr_def(INTEGERS)
    stride = attr_def(INTEGERS)
    pads = attr_def(INTEGERS)
    dilation = attr_def(INTEGERS)
    ceil_mode = attr_def(INTEGER)


@irdl_op_definition
class MaxPoolOp(PoolOp):
    """The first largest value of each window."""

    name = "nn.max_pool"
    RULE = staticmethod(window_shapes.max_pool)


@irdl_op_definition
class AveragePoolOp(PoolOp):
    """Row-major in-window sum divided by the count (of all positions with ``count_include_pad``)."""

    name = "nn.average_pool"
    RULE = staticmethod(window_shapes.average_pool)
    count_include_pad = attr_def(INTEGER)
