"""Conv, Gemm and MatMul."""

from __future__ import annotations

import numpy as np

from flexc import numerics
from flexc.importer.node import Node
from flexc.importer.operators.registry import Family
from flexc.importer.operators.windows import window_attributes
from flexc.importer.values import Value
from flexc.ir import nn


def _conv(node: Node) -> tuple[Value, ...]:
    x, w, bias = node.operand(0), node.operand(1), node.optional_operand(2)
    if not 3 <= x.spec.rank <= 5 or w.spec.rank != x.spec.rank:
        raise node.error(
            "FX203",
            f"an input of rank {x.spec.rank} and a weight of rank {w.spec.rank}",
            hint="both need one rank, 3 to 5: [N, C, spatial...] and [O, C/group, kernel...]",
        )
    kernel = node.integers("kernel_shape", w.spec.shape[2:])
    if kernel != w.spec.shape[2:]:
        raise node.error(
            "FX203",
            f"attribute 'kernel_shape' is {list(kernel)}, but the weight has {list(w.spec.shape[2:])}",
        )
    window = window_attributes(node, x.spec.shape[2:], kernel)
    group = node.integer("group", 1)
    return (
        node.emit(
            nn.ConvOp,
            x,
            w,
            bias,
            stride=window.stride,
            pads=window.pads,
            dilation=window.dilation,
            group=group,
        ),
    )


def _gemm(node: Node) -> tuple[Value, ...]:
    """``alpha * A * B + beta * C``; constants take transposition, alpha and beta."""
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    a, b, c = node.operand(0), node.operand(1), node.optional_operand(2)
    for operand in (a, b):
        if operand.spec.rank != 2:
            raise node.error(
                "FX203", f"an operand of rank {operand.spec.rank}", hint="Gemm multiplies matrices"
            )
    if node.flag("transA"):
        a = _transposed(node, a, "a")
    if node.flag("transB"):
        b = _transposed(node, b, "b")
    if b.array is not None:
        b, alpha = _scaled(node, b, alpha, "b"), 1.0
    if c is not None:
        c = _scaled(node, c, beta, "c")
    bias = None if c is None or alpha != 1 else _as_bias(node, c, b.spec.shape[1])
    product = node.emit(nn.MatMulOp, a, b, bias, name="" if bias or not c else node.inner_name("product"))
    product = _scaled(node, product, alpha, "product")
    if c is None or bias is not None:
        return (product,)
    total = node.emit(nn.AddOp, product, c)
    if total.spec != product.spec:
        raise node.error("FX203", f"C {c.spec} does not broadcast to the product {product.spec}")
    return (total,)


def _transposed(node: Node, x: Value, part: str) -> Value:
    name = node.inner_name(part) if x.array is None else f"{x.name}.transposed"
    return node.emit(nn.TransposeOp, x, permutation=(1, 0), name=name)


def _scaled(node: Node, x: Value, factor: float, part: str) -> Value:
    if factor == 1:
        return x
    scale = np.array(factor, np.float32)
    if x.array is not None:
        return node.constant(np.asarray(numerics.mul(x.array, scale), np.float32), f"{x.name}.scaled")
    factor_value = node.constant(scale, node.inner_name(f"{part}_scale"))
    return node.emit(nn.MulOp, x, factor_value, name=node.inner_name(f"{part}_scaled"))


def _as_bias(node: Node, c: Value, columns: int) -> Value | None:
    """C as one value a column, where it is that: [N], or a constant that repeats over the rows."""
    if c.spec.shape == (columns,):
        return c
    if c.array is None or c.spec.rank > 2 or (c.spec.rank == 2 and c.spec.shape[0] != 1):
        return None
    if c.spec.size not in (1, columns):
        return None
    return node.constant(np.broadcast_to(c.array.reshape(-1), (columns,)), f"{c.name}.row")


def _matmul(node: Node) -> tuple[Value, ...]:
    """As NumPy's matmul: vectors become a row or a column, and lose it again in the result."""
    a, b = node.operand(0), node.operand(1)
    if min(a.spec.rank, b.spec.rank) < 1:
        raise node.error(
            "FX203", "an operand of rank 0", hint="MatMul takes vectors, matrices and batches of them"
        )
    row, column = a.spec.rank == 1, b.spec.rank == 1
    if row:
        a = node.emit(nn.ReshapeOp, a, shape=(1, *a.spec.shape), name=node.inner_name("row"))
    if column:
        b = node.emit(nn.ReshapeOp, b, shape=(*b.spec.shape, 1), name=node.inner_name("column"))
    if not (row or column):
        return (node.emit(nn.MatMulOp, a, b, None),)
    product = node.emit(nn.MatMulOp, a, b, None, name=node.inner_name("product"))
    shape = product.spec.shape
    kept = shape[:-2] + (() if row else shape[-2:-1]) + (() if column else shape[-1:])
    return (node.emit(nn.ReshapeOp, product, shape=kept),)


CONTRACTIONS: Family = {
    "Conv": {1: _conv},
    "Gemm": {7: _gemm},
    "MatMul": {1: _matmul},
}
