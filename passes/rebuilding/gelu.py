"""GELUs that were exported as the ops of their formula, in any order of its products and sums.

    0.5 x (1 + erf(x / sqrt 2))                               ->  nn.gelu %x {approximate = "none"}
    0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))         ->  nn.gelu %x {approximate = "tanh"}

Constants must agree in seven digits, and no value in between may be used elsewhere.
"""

from __future__ import annotations

import math

from xdsl.dialects.builtin import StringAttr

from flexc.ir import nn
from flexc.ir.program import Graph
from flexc.passes.building import insert_before, replace
from flexc.passes.polynomials import (
    Polynomial,
    PolynomialReader,
    agrees,
    single_use_users,
    variable_candidates,
)

ERF_ARGUMENT: Polynomial = {(1,): math.sqrt(0.5)}
TANH_ARGUMENT: Polynomial = {(1,): math.sqrt(2 / math.pi), (3,): math.sqrt(2 / math.pi) * 0.044715}
HALF_X_ONE_PLUS_T: Polynomial = {(1, 0): 0.5, (1, 1): 0.5}


def rebuild_gelu(op: nn.ErfOp | nn.TanhOp, graph: Graph) -> bool:
    """Makes the formula around ``op`` a ``nn.gelu``, if it is one."""
    expected, approximate = (ERF_ARGUMENT, "none") if isinstance(op, nn.ErfOp) else (TANH_ARGUMENT, "tanh")
    for x in variable_candidates(op.x):
        argument = PolynomialReader(graph, (x,))
        if not agrees(argument.read(op.x), expected):
            continue
        for root in single_use_users(op.out):
            product = PolynomialReader(graph, (x, op.out))
            if not agrees(product.read(root.results[0]), HALF_X_ONE_PLUS_T):
                continue
            # The argument's ops may feed the product's (x * x, say), and op itself is between them.
            product.ops |= argument.ops | {op}
            if product.encloses_uses(root):
                attributes = {"approximate": StringAttr(approximate)}
                replace(root, insert_before(root, nn.GeluOp, (x,), root.results[0].type, attributes).out)
                return True
    return False
