"""Tables keyed by op class are total, and name things that exist."""

from __future__ import annotations

import pytest
from xdsl.irdl import IRDLOperation

import flexc.numerics
from flexc.backends.stream.isa import OPCODES, Opcode
from flexc.backends.stream.isa_functions import FUNCTIONS
from flexc.ir import bfp, lightnorm, nn, train
from flexc.ir.kernel_calls import ACTIVATION_PARAMETERS, KERNEL_CALLS, activation_call
from flexc.numerics import __all__ as numerics_names

SOURCES = {nn.ConstantOp, bfp.ConstantOp}
"""Ops whose value comes from the weight store, not from a kernel."""

STREAM_ONLY = {
    "add_from_tap",
    "copy",
    "gelu_tanh",
    "window_add",
    "window_argmax",
    "window_max",
    "window_sum",
}
"""Functions of the vector unit that are spelled otherwise in the numerics."""


def _ops() -> list[type[IRDLOperation]]:
    ops = [*nn.NN.operations, *bfp.BFP.operations, *lightnorm.LIGHTNORM.operations, *train.TRAIN.operations]
    return [op for op in ops if issubclass(op, IRDLOperation)]


@pytest.mark.parametrize("op", _ops(), ids=lambda op: str(op.name))
def test_every_op_has_a_kernel(op: type[IRDLOperation]) -> None:
    assert (op in KERNEL_CALLS) != (op in SOURCES)


@pytest.mark.parametrize("name", sorted({spec.name for spec in FUNCTIONS} - STREAM_ONLY))
def test_every_vector_function_is_a_kernel(name: str) -> None:
    assert callable(getattr(flexc.numerics, name))


@pytest.mark.parametrize("name", sorted(ACTIVATION_PARAMETERS))
def test_every_activation_is_a_kernel(name: str) -> None:
    call = activation_call(name, (0.5,) * len(ACTIVATION_PARAMETERS[name]))
    assert (call is None) == (name == "none")
    if call is not None:
        assert callable(getattr(flexc.numerics, call[0]))


def test_every_opcode_is_described() -> None:
    assert set(OPCODES) == set(Opcode)


def test_numerics_exports_what_it_names() -> None:
    assert all(hasattr(flexc.numerics, name) for name in numerics_names)
