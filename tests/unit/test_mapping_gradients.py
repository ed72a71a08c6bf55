"""Gradients as contraction problems: the same products as the forward pass, and they map."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings

from flexc.mapping.gradients import OperandGroups, local_grad_problems, phases, weight_grad_problem
from flexc.mapping.legality import check
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.search import search
from flexc.target import load_target
from tests.mapping_problems import LAYERS, conv_problem, matmul_problem, small_problems

FLEXBLOCK = load_target("flexblock")


def products(forward: ContractionProblem, axis: int) -> set[tuple[int, int, int]]:
    """Row of a, tap, and row of the result of every product of the forward pass that meets a."""
    outputs, taps = forward.extents[2 + axis], forward.extents[6 + axis]
    size, pad = forward.input_extents[axis], forward.pads[axis]
    step, spread = forward.stride[axis], forward.dilation[axis]
    every = ((out * step - pad + tap * spread, tap, out) for out, tap in product(range(outputs), range(taps)))
    return {(row, tap, out) for row, tap, out in every if 0 <= row < size}


def products_of_phases(forward: ContractionProblem, axis: int) -> list[tuple[int, int, int]]:
    """The same, from the phases of the local gradient."""
    found = []
    for phase in phases(forward, axis):
        for row, tap in product(range(phase.extent), range(phase.taps)):
            out = row - phase.pad_begin + (phase.taps - 1 - tap) * phase.dilation
            if 0 <= out < forward.extents[2 + axis]:
                found.append(
                    (phase.first + forward.stride[axis] * row, phase.first_tap + phase.tap_step * tap, out)
                )
    return found


@settings(max_examples=200, deadline=None)
@given(small_problems())
def test_phases_do_every_product_once(forward: ContractionProblem) -> None:
    if forward.kind == "matmul":
        return
    for axis in (0, 1):
        found = products_of_phases(forward, axis)
        assert len(set(found)) == len(found)
        assert set(found) == products(forward, axis)


def test_stride_two_has_four_phases() -> None:
    forward = conv_problem((1, 8, 8, 8), 16, (3, 3), stride=2, pad=1)
    found = local_grad_problems(forward, OperandGroups(8, 16), OperandGroups(8, 16))
    assert [problem.extents for problem in found] == [
        (1, 1, 4, 4, 8, 16, 1, 1),
        (1, 1, 4, 4, 8, 16, 1, 2),
        (1, 1, 4, 4, 8, 16, 2, 1),
        (1, 1, 4, 4, 8, 16, 2, 2),
    ]
    assert {problem.stride for problem in found} == {(1, 1)}


def test_a_phase_that_no_tap_reaches_is_none() -> None:
    forward = conv_problem((1, 8, 8, 8), 16, (1, 1), stride=2)
    (only,) = local_grad_problems(forward, OperandGroups(8, 16), OperandGroups(8, 16))
    assert only.extents == (1, 1, 4, 4, 8, 16, 1, 1)


def test_weight_grad_reduces_images_then_pixels() -> None:
    forward = conv_problem((64, 8, 16, 16), 32, (3, 3), stride=2, pad=1, dilation=2)
    found = weight_grad_problem(forward, OperandGroups(8, 64), OperandGroups(8, 64))
    assert found.extents == (1, 8, 3, 3, 32, 64, forward.extent("p"), forward.extent("q"))
    assert found.stride == forward.dilation
    assert found.dilation == forward.stride
    assert found.macs == forward.macs
    assert not found.grouped_channels


def test_gradients_of_a_matmul() -> None:
    forward = matmul_problem(3, 5, 70, 11)
    (local,) = local_grad_problems(forward, OperandGroups(8, 11), OperandGroups(8, 11))
    weight = weight_grad_problem(forward, OperandGroups(8, 5), OperandGroups(8, 5))
    assert local.extents == (3, 1, 5, 1, 70, 11, 1, 1)
    assert weight.extents == (3, 1, 70, 1, 11, 5, 1, 1)


@pytest.mark.parametrize(
    "name",
    [
        "resnet_stem_batch_64",
        "resnet_3x3_fb24",
        "depthwise_3x3",
        "depthwise_5x5_fb24",
        "cifar",
        "vgg_linear_batch_64",
    ],
)
def test_gradients_map(name: str) -> None:
    forward = LAYERS[name]
    images, outputs = forward.extent("n"), forward.extent("o") * forward.extent("g")
    if forward.kind == "matmul":
        images, outputs = forward.extent("p"), forward.extent("o")
    bits = forward.a_bits
    group = {8: 108, 16: 54}[bits]
    along_outputs = OperandGroups(bits, min(group, outputs))
    filters = OperandGroups(bits, min(group, forward.extent("o")))
    along_images = OperandGroups(bits, min(group, images))
    problems = [
        *local_grad_problems(forward, along_outputs, filters),
        weight_grad_problem(forward, along_images, along_images),
    ]
    for problem in problems:
        assert check(problem, search(problem, FLEXBLOCK), FLEXBLOCK) == [], problem.describe()


@settings(max_examples=60, deadline=None)
@given(small_problems())
def test_small_gradients_map(forward: ContractionProblem) -> None:
    groups = OperandGroups(8, 3), OperandGroups(4, 3)
    for problem in (*local_grad_problems(forward, *groups), weight_grad_problem(forward, *groups)):
        assert check(problem, search(problem, FLEXBLOCK), FLEXBLOCK) == []
