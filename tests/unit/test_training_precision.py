"""LightNorm and block floating point in training steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexc import numerics
from flexc.diagnostics import CompileError
from flexc.ir import bfp, lightnorm, nn, train
from flexc.ir.program import STATE, names_of, parse_module
from flexc.ir.train import role_of
from flexc.numerics.block_float import Rounding
from flexc.passes.cse import EliminateCommonSubexpressions
from flexc.passes.differentiate import Differentiate
from flexc.passes.fold_quantized_weights import FoldQuantizedWeights
from flexc.passes.fuse_lightnorm import FuseLightNorm
from flexc.passes.insert_quantize import InsertQuantize
from tests.training_models import small_mobilenet, small_resnet, small_transformer
from tests.training_steps import Trainer, trainer


def images(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"input": rng.standard_normal((6, 3, 12, 12)).astype(np.float32), "labels": np.arange(6) % 5}


def test_lightnorm_takes_the_place_of_batch_norms(tmp_path: Path) -> None:
    run = trainer(small_resnet(), tmp_path, Differentiate(), [FuseLightNorm(num_chunks=4)])
    ops = list(run.graph.main.body.block.ops)
    count = {
        kind: sum(isinstance(op, kind) for op in ops) for kind in (lightnorm.ForwardOp, lightnorm.BackwardOp)
    }
    assert set(count.values()) == {6}
    assert not [
        op for op in ops if isinstance(op, train.BatchNormOp | train.BatchNormGradOp | nn.BatchNormOp)
    ]
    text = str(run.graph.module)
    assert str(parse_module(text)) == text
    state = names_of(run.graph.main, STATE)
    assert "stem.bn.var/range" in state
    assert "stem.bn.var" not in state


def test_lightnorm_keeps_running_ranges(tmp_path: Path) -> None:
    run = trainer(small_resnet(), tmp_path, Differentiate(statistics_momentum=0.75), [FuseLightNorm()])
    constant = numerics.range_constant(6 * 12 * 12 // 8)
    before = run.carried["stem.bn.var/range"]
    np.testing.assert_allclose(before * constant, np.ones(4), rtol=1e-6)
    stem = numerics.conv(
        images()["input"], np.asarray(run.carried["stem.conv.weight"]), pads=(1, 1, 1, 1), stride=(1, 1)
    )
    found = numerics.lightnorm_forward(stem, np.ones(4, np.float32), np.zeros(4, np.float32), eps=1e-3)
    run.step(images(), 0.01)
    np.testing.assert_allclose(
        run.carried["stem.bn.var/range"], 0.75 * before + 0.25 * found.range, rtol=1e-3
    )
    np.testing.assert_allclose(run.carried["stem.bn.mean"], 0.25 * found.mean, rtol=2e-2, atol=1e-4)


def test_a_batch_too_small_for_lightnorm(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"FX346.*4 positions"):
        trainer(small_resnet(batch=1, size=2), tmp_path, Differentiate(), [FuseLightNorm()])


POINTS = {
    ("conv", "forward"): ((1, 4, 1, 1), (1, 4, 1, 1)),
    ("conv", "local_grad"): ((1, 4, 1, 1), (4, 1, 1, 1)),
    ("conv", "weight_grad"): ((6, 1, 1, 1), (6, 1, 1, 1)),
    ("depthwise", "forward"): ((1, 6, 1, 1), (1, 1, 3, 3)),
    ("depthwise", "local_grad"): ((1, 6, 1, 1), (1, 1, 3, 3)),
    ("depthwise", "weight_grad"): ((6, 1, 1, 1), (6, 1, 1, 1)),
    ("linear", "forward"): ((1, 8), (8, 1)),
    ("linear", "local_grad"): ((1, 5), (5, 1)),
    ("linear", "weight_grad"): ((1, 6), (6, 1)),
}


@pytest.mark.parametrize(
    ("make", "layer", "kind"),
    [
        (small_resnet, "a.1.conv", "conv"),
        (small_mobilenet, "a.depthwise.conv", "depthwise"),
        (small_resnet, "fc", "linear"),
    ],
)
def test_tiles_of_the_nine_points(make: Any, layer: str, kind: str, tmp_path: Path) -> None:
    run = trainer(make(), tmp_path, Differentiate(), [InsertQuantize("FB16")])
    found = {}
    for op in run.graph.main.body.block.ops:
        role = role_of(op)
        if role is not None and role.layer.data == layer:
            kinds = [operand.type for operand in op.operands[:2]]
            assert all(isinstance(one, bfp.BlockTensorType) for one in kinds)
            found[kind, role.training_pass.data] = tuple(one.get_tile() for one in kinds)
    assert found == {key: tiles for key, tiles in POINTS.items() if key[0] == kind}


def policy(folder: Path, rules: str) -> str:
    path = folder / "policy.toml"
    path.write_text(f'name = "p"\ndescription = "d"\n[default]\nformat = "FB12"\n{rules}')
    return str(path)


def test_each_pass_has_the_format_that_the_policy_gives_it(tmp_path: Path) -> None:
    name = policy(tmp_path, 'local_grad = { format = "FB16" }\nweight_grad = { format = "FB24" }\n')
    run = trainer(small_transformer(), tmp_path, Differentiate(), [InsertQuantize(name)])
    bits = {"forward": 4, "local_grad": 8, "weight_grad": 16}
    seen = set()
    for op in run.graph.main.body.block.ops:
        role = role_of(op)
        if role is not None:
            seen.add(role.training_pass.data)
            for operand in op.operands[:2]:
                assert isinstance(operand.type, bfp.BlockTensorType)
                assert operand.type.mantissa_bits.data == bits[role.training_pass.data]
                assert isinstance(operand.owner, bfp.QuantizeOp)
                assert not isinstance(operand.owner.x.owner, bfp.DequantizeOp)
    assert seen == set(bits)


@pytest.mark.parametrize("policy_name", ["FB12", "FB12LG16WG16", "FB16"])
def test_each_pass_of_a_named_policy_has_the_rounding_asked_for(policy_name: str, tmp_path: Path) -> None:
    asked = "forward=truncate,local_grad=stochastic,bwi=truncate"
    after = [InsertQuantize(policy_name, rounding=asked), EliminateCommonSubexpressions()]
    run = trainer(small_transformer(), tmp_path, Differentiate(), after)
    found: dict[tuple[str, str], set[str]] = {}
    for op in run.graph.main.body.block.ops:
        role = role_of(op)
        if role is not None:
            for operand, word in zip(op.operands[:2], role.operands, strict=True):
                assert isinstance(operand.owner, bfp.QuantizeOp)
                key = role.training_pass.data, word.data
                found.setdefault(key, set()).add(operand.owner.rounding.data)
    assert found == {
        ("forward", "activation"): {"truncate"},
        ("forward", "weight"): {"truncate"},
        ("local_grad", "gradient"): {"stochastic"},
        ("local_grad", "weight"): {"stochastic"},
        ("local_grad", "activation"): {"stochastic"},
        ("weight_grad", "gradient"): {"nearest"},
        ("weight_grad", "activation"): {"truncate"},
    }


def run_twice(folder: Path, rounding: Rounding) -> tuple[Trainer, Trainer]:
    after = [FuseLightNorm(), InsertQuantize("FB12", True, rounding), EliminateCommonSubexpressions()]
    first, second = (trainer(small_mobilenet(), folder, Differentiate(), after) for _ in range(2))
    for run in (first, second):
        for seed in range(2):
            run.step(images(seed), 0.02)
    return first, second


@pytest.mark.parametrize("rounding", Rounding)
def test_same_steps_same_bytes(rounding: Rounding, tmp_path: Path) -> None:
    first, second = run_twice(tmp_path, rounding)
    assert all(first.carried[name].tobytes() == second.carried[name].tobytes() for name in first.carried)


def test_stochastic_rounding_draws_anew_in_each_step(tmp_path: Path) -> None:
    after = [InsertQuantize("FB12", True, Rounding.STOCHASTIC)]
    run = trainer(small_mobilenet(), tmp_path, Differentiate(), after)
    losses = [float(run.step(images(), 0.0)["loss"]) for _ in range(3)]
    assert len(set(losses)) == 3


def test_quantized_training_learns(tmp_path: Path) -> None:
    after = [FuseLightNorm(), InsertQuantize("FB16", True), EliminateCommonSubexpressions()]
    run = trainer(small_resnet(), tmp_path, Differentiate(), after)
    losses = [float(run.step(images(), 0.05)["loss"]) for _ in range(40)]
    assert losses[-1] < 0.3 * losses[0]


def test_frozen_weights_are_quantized_at_compile_time_unless_by_chance(tmp_path: Path) -> None:
    after = [InsertQuantize("FB16"), FoldQuantizedWeights()]
    run = trainer(small_resnet(), tmp_path, Differentiate(freeze="a.*"), after)
    constants = [op for op in run.graph.main.body.block.ops if isinstance(op, bfp.ConstantOp)]
    # Two convolutions, each with a weight for the forward pass and one for the local gradient.
    assert len(constants) == 4
    by_chance = [InsertQuantize("FB16", rounding=Rounding.STOCHASTIC), FoldQuantizedWeights()]
    run = trainer(small_resnet(), tmp_path, Differentiate(freeze="a.*"), by_chance)
    assert not [op for op in run.graph.main.body.block.ops if isinstance(op, bfp.ConstantOp)]
    run.step(images(), 0.01)
