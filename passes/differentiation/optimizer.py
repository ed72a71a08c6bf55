"""Optimizers, composed of ``nn`` ops on fp32 master weights (numerics specification, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from xdsl.ir import SSAValue

from flexc.ir import nn
from flexc.passes.differentiation.builder import Builder
from flexc.passes.differentiation.signature import Signature


class OptimizerName(StrEnum):
    """Optimizers that a training step can have."""

    SGD = "sgd"
    ADAM = "adam"


class Optimizer(Protocol):
    """How weights change."""

    def update(self, key: str, weight: SSAValue, gradient: SSAValue) -> SSAValue:
        """The next value of the parameter ``key``; its state goes to the signature."""
        ...


@dataclass(frozen=True)
class Sgd:
    """t = g + wd * w; v = mu * v + t; w - lr * v. Without weight decay t = g, without momentum v = t."""

    build: Builder
    signature: Signature
    learning_rate: SSAValue
    weight_decay: float
    momentum: float

    def update(self, key: str, weight: SSAValue, gradient: SSAValue) -> SSAValue:
        """The next weight; the velocity is ``key/velocity``."""
        b = self.build
        step = decayed(b, weight, gradient, self.weight_decay)
        if self.momentum:
            name = f"{key}/velocity"
            velocity = self.signature.memory(name, weight)
            step = b.op(nn.AddOp, b.op(nn.MulOp, b.scalar(self.momentum), velocity), step)
            self.signature.result(name, step)
        return b.op(nn.SubOp, weight, b.op(nn.MulOp, self.learning_rate, step))


class Adam:
    """t = g + wd * w; m = b1 * m + (1 - b1) * t; v = b2 * v + (1 - b2) * (t * t);
    w - (lr * (m / (1 - b1^step))) / (sqrt(v / (1 - b2^step)) + eps)."""

    def __init__(
        self,
        build: Builder,
        signature: Signature,
        learning_rate: SSAValue,
        step: SSAValue,
        *,
        weight_decay: float,
        beta1: float,
        beta2: float,
        epsilon: float,
    ) -> None:
        """``step`` is the number of the step from 1 on."""
        self._build = build
        self._signature = signature
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._epsilon = epsilon
        self._moments = (("mean", beta1), ("square", beta2))
        number = build.cast(step)
        self._corrections = [
            build.op(nn.SubOp, build.scalar(1), build.op(nn.PowOp, build.scalar(beta), number))
            for beta in (beta1, beta2)
        ]

    def update(self, key: str, weight: SSAValue, gradient: SSAValue) -> SSAValue:
        """The next weight; the moments are ``key/mean`` and ``key/square``."""
        b = self._build
        step = decayed(b, weight, gradient, self._weight_decay)
        unbiased = []
        fresh = (step, b.op(nn.MulOp, step, step))
        for (word, beta), value, correction in zip(self._moments, fresh, self._corrections, strict=True):
            name = f"{key}/{word}"
            moment = average(b, self._signature.memory(name, weight), value, beta)
            self._signature.result(name, moment)
            unbiased.append(b.op(nn.DivOp, moment, correction))
        mean, square = unbiased
        deviation = b.op(nn.AddOp, b.op(nn.SqrtOp, square), b.scalar(self._epsilon))
        return b.op(nn.SubOp, weight, b.op(nn.DivOp, b.op(nn.MulOp, self._learning_rate, mean), deviation))


def decayed(b: Builder, weight: SSAValue, gradient: SSAValue, weight_decay: float) -> SSAValue:
    """gradient + weight_decay * weight; the gradient itself where there is no decay."""
    if not weight_decay:
        return gradient
    return b.op(nn.AddOp, gradient, b.op(nn.MulOp, b.scalar(weight_decay), weight))


def average(b: Builder, running: SSAValue, value: SSAValue, kept: float) -> SSAValue:
    """kept * running + (1 - kept) * value, with RN32(1 - RN32(kept))."""
    fresh_share = b.scalar(float(np.float32(1) - np.float32(kept)))
    return b.op(nn.AddOp, b.op(nn.MulOp, b.scalar(kept), running), b.op(nn.MulOp, fresh_share, value))
