"""Reverse mode: from the gradient of one value to those of everything that it depends on.

Ops are met last first. Where a value has several uses its gradients are added up in the order in which the
uses are met: the last use first, of one op's operands the first one first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from xdsl.ir import Operation, SSAValue

from flexc.diagnostics import error
from flexc.ir import nn
from flexc.ir.attributes import place_of
from flexc.ir.tensor_op import TensorOp, spec_of
from flexc.passes.differentiation.builder import Builder, shape_of


class Gradients:
    """The gradients known so far, each a list of terms."""

    def __init__(self, build: Builder, wanted: set[SSAValue]) -> None:
        self.build = build
        self._wanted = wanted
        self._terms: dict[SSAValue, list[SSAValue]] = {}

    def wants(self, value: SSAValue | None) -> bool:
        """Whether anything is to be learnt from the gradient of ``value``."""
        return value in self._wanted

    def add(self, value: SSAValue, term: SSAValue) -> None:
        """Another term of the gradient of ``value``; what broadcasting repeated is summed up."""
        if self.wants(value):
            self._terms.setdefault(value, []).append(self.build.sum_to(term, shape_of(value)))

    def of(self, value: SSAValue) -> SSAValue | None:
        """The gradient of ``value``, added up; None where nothing depends on it."""
        terms = self._terms.get(value)
        if terms is None:
            return None
        total, *rest = terms
        for term in rest:
            total = self.build.op(nn.AddOp, total, term)
        self._terms[value] = [total]
        if value.name_hint is not None and total.name_hint is not None:
            total.name_hint = f"d_{value.name_hint}"
        return total


Rule: TypeAlias = Callable[[Any, SSAValue, Gradients], None]
"""(op, gradient of its first result, where the gradients of its operands go)."""


def differentiate(
    seeds: Mapping[SSAValue, SSAValue],
    ops: Iterable[Operation],
    gradients: Gradients,
    rules: Mapping[type[Operation], Rule],
) -> None:
    """Puts the gradients of all wanted values that ``seeds`` depends on into ``gradients``.

    ``ops`` are those of the forward pass, in order; ``seeds`` holds the gradient of the value that is
    differentiated. Raises CompileError FX342 for an op in between that has no rule.
    """
    for value, seed in seeds.items():
        gradients.add(value, seed)
    for op in reversed(tuple(ops)):
        if not op.results or not any(gradients.wants(operand) for operand in op.operands):
            continue
        hint = op.results[0].name_hint
        with gradients.build.on_behalf_of(op, None if hint is None else f"d_{hint}"):
            gradient = gradients.of(op.results[0])
            if gradient is not None:
                _rule(op, rules, gradients.build.graph.file)(op, gradient, gradients)


def _rule(op: Operation, rules: Mapping[type[Operation], Rule], file: str) -> Rule:
    if type(op) not in rules:
        raise error(
            "FX342",
            f"'{op.name}' has no gradient",
            place=place_of(op, file),
            hint="differentiate before number formats are chosen, and freeze the weights in front of this op",
        )
    return rules[type(op)]


def depending_on(values: Iterable[SSAValue], ops: Iterable[Operation]) -> set[SSAValue]:
    """``values``, and the fp32 results that depend on one of them."""
    found = set(values)
    for op in ops:
        if isinstance(op, TensorOp) and any(operand in found for operand in op.operands):
            found.update(result for result in op.results if spec_of(result.type).element == "f32")
    return found
