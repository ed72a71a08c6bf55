"""Make a training step of a model: forward pass, loss, gradients, updates.

    func.func @main(%x) -> %logits {            func.func @main(%x, %labels, %learning_rate, %step, %w, ...)
      %w = nn.constant "w"                          -> loss, correct, next w, ... {
      %logits = nn.matmul %x, %w          ->      %logits = nn.matmul %x, %w {role = ...}
    }                                             ...
                                                  %d_w = nn.matmul %x_transposed, %d_logits {role = ...}
                                                  %w_next = nn.sub %w, ...

Weights and running statistics become arguments, and results of the same names (docs/passes.md, "Training
steps"). Batch norms take the statistics of the batch. Run it on fp32 ops, before number formats are chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue

from flexc.diagnostics import Place, error
from flexc.ir import nn
from flexc.ir.program import Graph
from flexc.ir.shapes import TensorSpec
from flexc.ir.tensor_op import spec_of
from flexc.ir.train import ROLE, RoleAttr
from flexc.passes.base import Pass
from flexc.passes.dead_code import drop_unused_weights, erase_dead_ops
from flexc.passes.differentiation.batch_statistics import update_running_statistics, use_batch_statistics
from flexc.passes.differentiation.builder import Builder
from flexc.passes.differentiation.dropout import draw_masks
from flexc.passes.differentiation.loss import (
    Loss,
    LossValue,
    cross_entropy,
    logits_of,
    mean_squared_error,
    output_itself,
)
from flexc.passes.differentiation.loss_output import loss_output
from flexc.passes.differentiation.optimizer import Adam, Optimizer, OptimizerName, Sgd
from flexc.passes.differentiation.parameters import Choice, merge_constants, trained_constants
from flexc.passes.differentiation.parts import GRADIENT_SUFFIX, Part, accumulate
from flexc.passes.differentiation.reverse import Gradients, depending_on, differentiate
from flexc.passes.differentiation.rules import GRADIENT_RULES
from flexc.passes.differentiation.signature import LEARNING_RATE, LOSS, STEP, Signature, hint_of
from flexc.precision.layers import layers_of
from flexc.precision.policy import Operand, TrainingPass


@dataclass(frozen=True)
class Differentiate(Pass):
    """Options: the loss, and the output that it is taken of (needed where there are several).

    The optimizer and its constants; ``train`` and ``freeze`` list patterns of weight names, with commas
    between, to train beside the usual ones or to leave alone; ``statistics_momentum`` is what running
    statistics keep of themselves in a step; ``seed`` is that of dropouts. ``part`` and ``micro_batches``: see
    :mod:`flexc.passes.differentiation.parts`.
    """

    name: ClassVar[str] = "differentiate"
    loss: Loss = Loss.CROSS_ENTROPY
    output: str = ""
    optimizer: OptimizerName = OptimizerName.SGD
    momentum: float = 0.9
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    statistics_momentum: float = 0.9
    train: str = ""
    freeze: str = ""
    seed: int = 0
    part: Part = Part.STEP
    micro_batches: int = 1

    def run(self, graph: Graph) -> bool:
        """Raises CompileError FX341 to FX345 for a model that cannot be trained so."""
        end = graph.main.body.block.last_op
        assert isinstance(end, ReturnOp)
        _assign_roles(graph)
        merge_constants(graph)
        _, output = loss_output(graph, Loss(self.loss), self.output)
        end.operands = [logits_of(output) if self.loss == Loss.CROSS_ENTROPY else output]
        statistics = use_batch_statistics(graph)
        (output,) = end.operands
        # The model's last softmax and its other outputs have served.
        end.operands = [output, *(one.of_batch for one in statistics)]
        erase_dead_ops(graph)
        trained = trained_constants(graph, Choice(self.train, self.freeze))

        block = graph.main.body.block
        before = set(block.ops)
        signature, build = Signature(graph), Builder(graph, end)
        with build.on_behalf_of(None, LOSS):
            found = self._loss(build, signature, output)
        rate = None if self.part == Part.GRADIENTS else signature.argument(LEARNING_RATE, TensorSpec(()))
        step = signature.argument(STEP, TensorSpec((), "i64"))
        of_loss = set(block.ops) - before
        draw_masks(graph, step, self.seed)
        output = end.operands[0]
        forward = tuple(op for op in block.ops if op not in of_loss and op is not end)
        if self.part != Part.UPDATE:
            signature.result(LOSS, found.loss)
            for name, value in found.metrics.items():
                signature.result(name, value)

        gradients = Gradients(build, depending_on(trained.values(), forward))
        differentiate({output: found.gradient}, forward, gradients, GRADIENT_RULES)
        optimizer = None if rate is None else self._optimizer(build, signature, rate, step)
        self._update(graph, trained, gradients, optimizer, signature)
        if self.part != Part.UPDATE:
            with build.on_behalf_of(None, "statistics"):
                update_running_statistics(build, signature, statistics, self.statistics_momentum)
        signature.finish(end)
        erase_dead_ops(graph)
        if self.part == Part.UPDATE:
            # The forward pass, which said what has a gradient, and its inputs.
            signature.drop_unread()
        drop_unused_weights(graph)
        return True

    def _loss(self, build: Builder, signature: Signature, output: SSAValue) -> LossValue:
        return _LOSSES[Loss(self.loss)](build, signature, output, self.micro_batches)

    def _optimizer(
        self, build: Builder, signature: Signature, learning_rate: SSAValue, step: SSAValue
    ) -> Optimizer:
        if self.optimizer == OptimizerName.SGD:
            return Sgd(build, signature, learning_rate, self.weight_decay, self.momentum)
        with build.on_behalf_of(None, "correction"):
            return Adam(
                build,
                signature,
                learning_rate,
                step,
                weight_decay=self.weight_decay,
                beta1=self.beta1,
                beta2=self.beta2,
                epsilon=self.epsilon,
            )

    def _update(
        self,
        graph: Graph,
        trained: dict[str, SSAValue],
        gradients: Gradients,
        optimizer: Optimizer | None,
        signature: Signature,
    ) -> None:
        updated = False
        for key, constant in trained.items():
            with gradients.build.on_behalf_of(None, f"d_{constant.name_hint or hint_of(key)}"):
                gradient = gradients.of(constant)
            if gradient is None:
                continue
            weight = signature.parameter(key, constant)
            with gradients.build.on_behalf_of(None, f"{weight.name_hint}_next"):
                if optimizer is None:
                    accumulate(gradients.build, signature, key, weight, gradient)
                else:
                    if self.part == Part.UPDATE:
                        gradient = signature.argument(key + GRADIENT_SUFFIX, spec_of(weight.type))
                    signature.result(key, optimizer.update(key, weight, gradient))
            updated = True
        if not updated:
            raise error(
                "FX345",
                "no weight of the model has a gradient",
                place=Place(graph.file),
                hint="see 'train' and 'freeze', and whether the output depends on any weight",
            )


_LOSSES: Mapping[Loss, Callable[[Builder, Signature, SSAValue, int], LossValue]] = {
    Loss.CROSS_ENTROPY: cross_entropy,
    Loss.MEAN_SQUARED_ERROR: mean_squared_error,
    Loss.OUTPUT: output_itself,
}


def _assign_roles(graph: Graph) -> None:
    """Notes on each contraction which layer it is: later the loss and the gradients hide that."""
    for op, layer in layers_of(graph.main).items():
        operands = (Operand.ACTIVATION, Operand.WEIGHT)
        if isinstance(op, nn.MatMulOp):
            operands = (_operand(op.a), _operand(op.b))
        op.attributes[ROLE] = RoleAttr.of(
            layer.name,
            TrainingPass.FORWARD,
            operands,
            sorted(layer.kinds),
            first=layer.first,
            last=layer.last,
        )


def _operand(value: SSAValue) -> Operand:
    return Operand.WEIGHT if nn.is_constant(value) else Operand.ACTIVATION
