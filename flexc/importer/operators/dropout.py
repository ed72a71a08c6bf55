"""Dropout: nothing in inference; for a training step, an op whose mask differentiation draws.

A training step drops by its own random bits (numerics specification, section 3.8), so the seed and the
training mode of the node say nothing there.
"""

from __future__ import annotations

import numpy as np

from flexc.importer.node import Node
from flexc.importer.operators.registry import Family
from flexc.importer.values import Value
from flexc.ir import train

DEFAULT_RATIO = 0.5


def _by_attribute(node: Node) -> tuple[Value, ...]:
    return (_dropped(node, node.number("ratio", DEFAULT_RATIO)),)


def _with_mask(node: Node) -> tuple[Value, ...]:
    return _and_mask(node, _dropped(node, node.number("ratio", DEFAULT_RATIO)))


def _by_operand(node: Node) -> tuple[Value, ...]:
    node.ignore("seed")
    given = node.optional_operand(1)
    ratio = DEFAULT_RATIO
    if given is not None and node.training:
        ratio = node.scalar_operand(1, "the ratio")
    mode = node.optional_operand(2)
    if mode is not None and not node.training and node.scalar_operand(2, "training_mode") != 0:
        raise node.error("FX205", "dropout in training mode", hint="export the model for inference")
    return _and_mask(node, _dropped(node, ratio))


def _dropped(node: Node, ratio: float) -> Value:
    x = node.operand(0)
    if not node.training or ratio == 0:
        return x
    return node.emit(train.DropoutOp, x, ratio=ratio, number=node.next_dropout())


def _and_mask(node: Node, kept: Value) -> tuple[Value, ...]:
    """A training step's mask is not the model's to read: only inference, which keeps everything, has one."""
    if node.training:
        return (kept,)
    return kept, node.constant(np.broadcast_to(np.array(True), kept.spec.shape), node.inner_name("mask"))


DROPOUT: Family = {"Dropout": {7: _by_attribute, 10: _with_mask, 12: _by_operand}}
