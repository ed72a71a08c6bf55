"""Pooling over windows and over whole images."""

from __future__ import annotations

from flexc.importer.node import Node
from flexc.importer.operators.registry import Family, Importer
from flexc.importer.operators.windows import window_attributes
from flexc.importer.values import Value
from flexc.ir import nn
from flexc.ir.tensor_op import TensorOp


def _max_pool(node: Node) -> tuple[Value, ...]:
    if node.integer("storage_order", 0) != 0:
        raise node.error("FX205", "column-major indices (storage_order = 1) are not supported")
    x, kernel = _images_and_kernel(node)
    window = window_attributes(node, x.spec.shape[2:], kernel)
    return (
        node.emit(
            nn.MaxPoolOp,
            x,
            kernel=kernel,
            stride=window.stride,
            pads=window.pads,
            dilation=window.dilation,
            ceil_mode=node.flag("ceil_mode"),
        ),
    )


def _average_pool(node: Node) -> tuple[Value, ...]:
    x, kernel = _images_and_kernel(node)
    window = window_attributes(node, x.spec.shape[2:], kernel)
    return (
        node.emit(
            nn.AveragePoolOp,
            x,
            kernel=kernel,
            stride=window.stride,
            pads=window.pads,
            dilation=window.dilation,
            ceil_mode=node.flag("ceil_mode"),
            count_include_pad=node.flag("count_include_pad"),
        ),
    )


def _images_and_kernel(node: Node) -> tuple[Value, tuple[int, ...]]:
    x = node.operand(0)
    if not 3 <= x.spec.rank <= 5:
        raise node.error(
            "FX203", f"an input of rank {x.spec.rank}", hint="[N, C, spatial...] is needed, rank 3 to 5"
        )
    return x, node.integers("kernel_shape")


def _global(op: type[TensorOp]) -> Importer:
    def convert(node: Node) -> tuple[Value, ...]:
        x = node.operand(0)
        if x.spec.rank < 3:
            raise node.error("FX203", f"an input of rank {x.spec.rank}", hint="[N, C, spatial...] is needed")
        return (node.emit(op, x, axes=tuple(range(2, x.spec.rank)), keepdims=True),)

    return convert


POOLING: Family = {
    "AveragePool": {7: _average_pool},
    "GlobalAveragePool": {1: _global(nn.ReduceMeanOp)},
    "GlobalMaxPool": {1: _global(nn.ReduceMaxOp)},
    "MaxPool": {1: _max_pool},
}
