"""The bound of fp32 sums: it covers other orders of summation, and little more than rounding."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import Float32Type, TensorType
from xdsl.ir import Block

from flexc.backends.fp32_sums import difference_bound, reduced_terms
from flexc.ir import nn
from flexc.ir.kernel_calls import kernel_call


def matmul(terms: int) -> nn.MatMulOp:
    f32 = Float32Type()
    shapes = ((4, terms), (terms, 5), (4, 5))
    a, b, out = (TensorType(f32, shape) for shape in shapes)
    block = Block(arg_types=[a, b])
    return nn.MatMulOp.create(operands=list(block.args), result_types=[out])


@pytest.mark.parametrize("terms", [1, 3, 100, 5000])
def test_any_order_of_summation_is_within_the_bound(terms: int) -> None:
    rng = np.random.default_rng(terms)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((4, terms), (terms, 5)))
    # Sums that cancel: what is left is small beside the terms.
    a[:, terms // 2 :] = -a[:, : terms - terms // 2]
    b[terms // 2 :] = b[: terms - terms // 2]
    op = matmul(terms)
    assert reduced_terms(op) == terms
    bound = difference_bound(op, kernel_call(op), (a, b))
    sums = []
    for _ in range(5):
        total = np.zeros((4, 5), np.float32)
        for k in rng.permutation(terms):
            total += a[:, k : k + 1] * b[k : k + 1]
        sums.append(total.astype(np.float64))
    for one in sums:
        assert np.all(np.abs(one - sums[0]) <= bound)
    assert np.all(bound <= 1e-6 * np.sqrt(terms) * (np.abs(a) @ np.abs(b)) + 1e-40)
