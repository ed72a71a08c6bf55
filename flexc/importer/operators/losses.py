"""Losses that a model computes itself, taken apart: SoftmaxCrossEntropyLoss, NegativeLogLikelihoodLoss.

Scores are f32 [N, classes, ...], labels integers [N, ...], class weights f32 [classes]. A label that is no
class, or the one to ignore, adds nothing.
"""

from __future__ import annotations

import numpy as np

from flexc.importer.node import Node
from flexc.importer.operators.registry import Family
from flexc.importer.tensors import NUMPY_TYPES
from flexc.importer.values import Value
from flexc.ir import nn
from flexc.ir.shapes import TensorSpec


def _softmax_cross_entropy(node: Node) -> tuple[Value, ...]:
    scores = _scores(node)
    name = node.output_name(1) if node.output_count > 1 else node.inner_name("log_prob")
    likelihoods = node.emit(nn.LogSoftmaxOp, scores, axis=1, name=name)
    return _loss(node, likelihoods), likelihoods


def _negative_log_likelihood(node: Node) -> tuple[Value, ...]:
    return (_loss(node, _scores(node)),)


def _scores(node: Node) -> Value:
    scores = node.operand(0)
    if scores.spec.rank < 2 or scores.spec.element != "f32":
        raise node.error("FX203", f"scores {scores.spec}", hint="scores are f32 of shape [N, classes, ...]")
    return scores


def _loss(node: Node, likelihoods: Value) -> Value:
    """The loss of log likelihoods [N, classes, ...], reduced as the node says.

    Each row counts by the weight of its class, or by 1; the mean is over the sum of these.
    """
    reduction = node.text("reduction", ("mean", "none", "sum"), "mean")
    labels = _labels(node, likelihoods)
    ignored = _ignored(node, labels)
    hits = _hits(node, labels, ignored, likelihoods.spec.shape[1])
    rows = _of_label(node, hits, _classes_last(node, likelihoods), "likelihood")
    weights = _row_weights(node, hits, ignored, likelihoods.spec.shape[1])
    if node.optional_operand(2) is not None:
        rows = node.emit(nn.MulOp, rows, weights, name=node.inner_name("weighted"))
    if reduction == "none":
        return node.emit(nn.NegOp, rows)
    if reduction == "sum":
        return node.emit(nn.NegOp, _reduced(node, nn.ReduceSumOp, rows, "sum"))
    if weights is None:
        return node.emit(nn.NegOp, _reduced(node, nn.ReduceMeanOp, rows, "mean"))
    total = _reduced(node, nn.ReduceSumOp, rows, "sum")
    count = _reduced(node, nn.ReduceSumOp, weights, "count")
    return node.emit(nn.NegOp, node.emit(nn.DivOp, total, count, name=node.inner_name("mean")))


def _labels(node: Node, likelihoods: Value) -> Value:
    """The labels as [N, ..., 1]."""
    labels = node.operand(1)
    batch, _, *rest = likelihoods.spec.shape
    if labels.spec.element not in ("i64", "i32") or labels.spec.shape != (batch, *rest):
        raise node.error(
            "FX203",
            f"labels {labels.spec} for scores {likelihoods.spec}",
            hint=f"labels are integers of shape {[batch, *rest]}",
        )
    return node.emit(nn.ReshapeOp, labels, shape=(batch, *rest, 1), name=node.inner_name("labels"))


def _ignored(node: Node, labels: Value) -> Value | None:
    """Where a label is the one to ignore; None where the node names none."""
    if not node.has("ignore_index"):
        return None
    index = np.asarray(node.integer("ignore_index"), NUMPY_TYPES[labels.spec.element])
    constant = node.constant(index, node.inner_name("ignore_index"))
    return node.emit(nn.EqualOp, labels, constant, name=node.inner_name("ignored"))


def _hits(node: Node, labels: Value, ignored: Value | None, classes: int) -> Value:
    """[N, ..., classes]: true where the class is the row's label and that is not ignored."""
    numbers = node.constant(
        np.arange(classes, dtype=NUMPY_TYPES[labels.spec.element]), node.inner_name("classes")
    )
    hits = node.emit(nn.EqualOp, labels, numbers, name=node.inner_name("hits"))
    if ignored is None:
        return hits
    false = node.constant(np.array(False), node.inner_name("false"))
    return node.emit(nn.WhereOp, ignored, false, hits, name=node.inner_name("counted"))


def _classes_last(node: Node, likelihoods: Value) -> Value:
    rank = likelihoods.spec.rank
    if rank == 2:
        return likelihoods
    order = (0, *range(2, rank), 1)
    return node.emit(nn.TransposeOp, likelihoods, permutation=order, name=node.inner_name("classes_last"))


def _of_label(node: Node, hits: Value, values: Value, part: str) -> Value:
    """[N, ...]: the value of each row's label, +0 where no class is."""
    zero = node.constant(np.array(0, np.float32), node.inner_name("zero"))
    chosen = node.emit(nn.WhereOp, hits, values, zero, name=node.inner_name(f"{part}s"))
    return node.emit(
        nn.ReduceSumOp, chosen, axes=(hits.spec.rank - 1,), keepdims=False, name=node.inner_name(part)
    )


def _row_weights(node: Node, hits: Value, ignored: Value | None, classes: int) -> Value | None:
    """[N, ...]: what each row counts; None where all of them count 1."""
    weights = node.optional_operand(2)
    if weights is not None:
        if weights.spec != TensorSpec((classes,)):
            raise node.error("FX203", f"class weights {weights.spec} for {classes} classes")
        return _of_label(node, hits, weights, "weight")
    if ignored is None:
        return None
    zero, one = (
        node.constant(np.array(count, np.float32), node.inner_name(f"count{count}")) for count in (0, 1)
    )
    counts = node.emit(nn.WhereOp, ignored, zero, one, name=node.inner_name("counts"))
    return node.emit(nn.ReshapeOp, counts, shape=hits.spec.shape[:-1], name=node.inner_name("weights"))


def _reduced(node: Node, op: type[nn.ReduceOp], x: Value, part: str) -> Value:
    return node.emit(op, x, axes=tuple(range(x.spec.rank)), keepdims=False, name=node.inner_name(part))


LOSSES: Family = {
    "NegativeLogLikelihoodLoss": {12: _negative_log_likelihood},
    "SoftmaxCrossEntropyLoss": {12: _softmax_cross_entropy},
}
