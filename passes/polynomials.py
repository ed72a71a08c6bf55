"""Expressions of a few values and constants, as polynomials: one form for every order an exporter may choose.

``x * 0.5 * (1 + t)``, ``0.5 * (x + x * t)`` and ``(x * t + x) / 2`` are all 0.5 x + 0.5 x t.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from xdsl.ir import Operation, SSAValue

from flexc.ir import nn
from flexc.ir.program import Graph
from flexc.passes.building import constant_scalar, only_user

Polynomial: TypeAlias = dict[tuple[int, ...], float]
"""Coefficients by the powers of each variable."""

RELATIVE_TOLERANCE = 1e-6
"""Constants that agree in seven digits are taken for the same number: fp32 holds no more."""
MAX_DEGREE = 6
MAX_DEPTH = 8


@dataclass
class PolynomialReader:
    """Reads values as polynomials of ``variables``; ``ops`` collects the ops that this went through.

    An op counts only if its result has the type of the first variable, so that nothing broadcasts.
    """

    graph: Graph
    variables: tuple[SSAValue, ...]
    ops: set[Operation] = field(default_factory=set)

    def read(self, value: SSAValue, depth: int = MAX_DEPTH) -> Polynomial | None:
        """The polynomial of ``value``, or None if it is something else (or deeper than ``depth`` ops)."""
        if value in self.variables:
            return {tuple(int(value is one) for one in self.variables): 1.0}
        constant = constant_scalar(self.graph, value)
        if constant is not None:
            return {(0,) * len(self.variables): constant}
        op = value.owner
        if depth == 0 or not isinstance(op, Operation) or value.type != self.variables[0].type:
            return None
        found = self._read_op(op, depth - 1)
        if found is not None:
            self.ops.add(op)
        return found

    def _read_op(self, op: Operation, depth: int) -> Polynomial | None:
        if not isinstance(op, (nn.AddOp, nn.SubOp, nn.MulOp, nn.DivOp, nn.PowOp)):
            return None
        left = self.read(op.lhs, depth)
        right = None if left is None else self.read(op.rhs, depth)
        if left is None or right is None:
            return None
        match op:
            case nn.AddOp():
                return _sum(left, right, 1.0)
            case nn.SubOp():
                return _sum(left, right, -1.0)
            case nn.MulOp():
                return _product(left, right)
            case nn.DivOp():
                divisor = _constant_of(right)
                return {powers: value / divisor for powers, value in left.items()} if divisor else None
            case nn.PowOp():
                return _power(left, _constant_of(right))

    def encloses_uses(self, root: Operation) -> bool:
        """Whether no op read so far is used outside of those ops, but for ``root``."""
        return all(
            use.operation in self.ops
            for op in self.ops
            if op is not root
            for result in op.results
            for use in result.uses
        )


def agrees(found: Polynomial | None, expected: Polynomial) -> bool:
    """Whether ``found`` has the terms of ``expected``, with coefficients equal to seven digits."""
    return (
        found is not None
        and found.keys() == expected.keys()
        and all(close(found[powers], value) for powers, value in expected.items())
    )


def close(found: float, expected: float) -> bool:
    """Whether a constant of a model stands for ``expected``."""
    return math.isclose(found, expected, rel_tol=RELATIVE_TOLERANCE)


def variable_candidates(value: SSAValue, depth: int = MAX_DEPTH) -> Iterator[SSAValue]:
    """What ``value`` might be a polynomial of: the non-constant operands below it, nearest first."""
    level = [value]
    for _ in range(depth):
        below: list[SSAValue] = []
        for one in level:
            if isinstance(one.owner, (nn.AddOp, nn.SubOp, nn.MulOp, nn.DivOp, nn.PowOp)):
                below += [operand for operand in one.owner.operands if not nn.is_constant(operand)]
        level = list(dict.fromkeys(below))
        yield from level


def single_use_users(value: SSAValue, limit: int = MAX_DEPTH) -> Iterator[Operation]:
    """The op that ``value`` is for, the op that its result is for, and so on while each has one use."""
    for _ in range(limit):
        user = only_user(value)
        if user is None or len(user.results) != 1:
            return
        yield user
        value = user.results[0]


def _constant_of(found: Polynomial) -> float | None:
    ((powers, value),) = found.items() if len(found) == 1 else (((1,), 0.0),)
    return None if any(powers) else value


def _sum(left: Polynomial, right: Polynomial, sign: float) -> Polynomial:
    total = dict(left)
    for powers, value in right.items():
        total[powers] = total.get(powers, 0.0) + sign * value
    return {powers: value for powers, value in total.items() if value}


def _product(left: Polynomial, right: Polynomial) -> Polynomial | None:
    total: Polynomial = {}
    for left_powers, left_value in left.items():
        for right_powers, right_value in right.items():
            powers = tuple(a + b for a, b in zip(left_powers, right_powers, strict=True))
            if sum(powers) > MAX_DEGREE:
                return None
            total[powers] = total.get(powers, 0.0) + left_value * right_value
    return total


def _power(base: Polynomial, exponent: float | None) -> Polynomial | None:
    if exponent not in (2.0, 3.0):
        return None
    square = _product(base, base)
    return square if square is None or exponent == 2.0 else _product(square, base)
