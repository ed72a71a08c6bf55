"""The profile bfpsim: the published emulator's quantizers, products in fp32, on the executor only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

import flexc
from flexc import artefact, numerics
from flexc.cli import main
from flexc.diagnostics import CompileError
from flexc.ir import bfp, lightnorm, nn
from flexc.ir.train import role_of
from flexc.options import TrainingOptions
from flexc.training.zero_setting import quantized_operands
from tests.json_schema import violations
from tests.onnx_models import build, make_node, random, save
from tests.training_models import small_resnet

FI, FW, FO = (1, 3, 3, 3), (2, 1, 3, 3), (1, 2, 1, 5)


def by_the_text(x: npt.NDArray[np.float32], bits: int, tile: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Numerics specification, section 1, truncation with the sign apart, box by box in fp64."""
    y = np.zeros_like(x)
    for corner in np.ndindex(*(-(-extent // size) for extent, size in zip(x.shape, tile, strict=True))):
        box = tuple(slice(at * size, (at + 1) * size) for at, size in zip(corner, tile, strict=True))
        largest = np.abs(x[box]).max()
        if largest >= np.finfo(np.float32).tiny:
            unit = 2.0 ** (np.floor(np.log2(np.float64(largest))) - (bits - 1))
            y[box] = np.trunc(x[box] / unit) * unit
    return y + np.float32(0)


def convolved(x: npt.NDArray[np.float32], w: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return numerics.conv(x, w, stride=(1, 1), pads=(1, 1, 1, 1), dilation=(1, 1), group=1)


def emulator_file(folder: Path, **layers: dict[str, object]) -> str:
    path = folder / "paper.json"
    path.write_text(json.dumps(layers))
    return str(path)


def point(name: str, bits: int, tile: tuple[int, ...]) -> dict[str, object]:
    return {f"{name}_bit": bits, f"{name}_dim": list(tile)}


@pytest.fixture
def conv(tmp_path: Path) -> tuple[Path, dict[str, Any], npt.NDArray[np.float32]]:
    """A convolution, its input and its weight."""
    x, w = random(2, 5, 7, 7), random(4, 5, 3, 3)
    x *= np.float32(2) ** np.random.default_rng(0).integers(-9, 9, x.shape).astype(np.float32)
    x[0, 0, 0] = (0, -0.0, 1e-40, -1e-38, 1e-37, 0.1, -3)
    model = build([make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])], {"x": x}, {"w": w})
    return save(model, tmp_path), {"x": x}, w


def test_quantizers_are_exact_and_products_fp32(conv: Any, tmp_path: Path) -> None:
    model, inputs, w = conv
    policy = emulator_file(
        tmp_path, default={**point("fi", 5, FI), **point("fw", 3, FW), **point("fo", 6, FO)}
    )
    program = flexc.compile(model, profile="bfpsim", policy=policy)
    x = inputs["x"]
    product = numerics.conv(
        by_the_text(x, 5, FI),
        by_the_text(w, 3, FW),
        stride=(1, 1),
        pads=(1, 1, 1, 1),
        dilation=(1, 1),
        group=1,
    )
    found = program.run(inputs)["y"]
    assert found.tobytes() == by_the_text(product, 6, FO).tobytes()
    plain = flexc.compile(model, profile="fp32").run(inputs)["y"]
    assert not np.array_equal(found, plain)


def test_one_operand_alone_may_be_quantized(conv: Any, tmp_path: Path) -> None:
    model, inputs, w = conv
    policy = emulator_file(tmp_path, default=point("fw", 3, FW))
    found = flexc.compile(model, profile="bfpsim", policy=policy).run(inputs)["y"]
    assert found.tobytes() == convolved(inputs["x"], by_the_text(w, 3, FW)).tobytes()
    with pytest.raises(CompileError, match="FX331"):
        flexc.compile(model, policy=policy)


def test_named_policies_take_the_emulators_sign_and_rounding(conv: Any) -> None:
    graph = flexc.compile(conv[0], profile="bfpsim", policy="FB12", everywhere=True).graph
    nodes = [op for op in graph.main.body.block.ops if isinstance(op, bfp.QuantizeOp | bfp.ConstantOp)]
    assert len(nodes) == 2
    for op in nodes:
        assert isinstance(op.out.type, bfp.BlockTensorType)
        assert (op.out.type.mantissa_bits.data, op.out.type.sign.data) == (4, "separate")
    assert 'rounding = "truncate"' in str(graph.module)


def test_another_rounding_is_an_error(conv: Any) -> None:
    with pytest.raises(CompileError, match=r"FX310.*truncates"):
        flexc.compile(conv[0], profile="bfpsim", rounding="nearest")


def test_it_has_no_stream(conv: Any, tmp_path: Path) -> None:
    model, inputs, _ = conv
    program = flexc.compile(model, output=tmp_path / "a", profile="bfpsim", policy="FB16")
    loaded = flexc.load(tmp_path / "a")
    assert not (tmp_path / "a" / artefact.STREAM).exists()
    manifest = json.loads((tmp_path / "a" / artefact.MANIFEST).read_text())
    assert violations(manifest, "manifest.json") == []
    assert loaded.run(inputs)["y"].tobytes() == program.run(inputs)["y"].tobytes()
    for one in (program, loaded):
        for name in ("stream", "schedule"):
            with pytest.raises(CompileError, match="FX431"):
                getattr(one, name)
        with pytest.raises(CompileError, match="FX431"):
            one.run(inputs, engine="both")
    np.savez(tmp_path / "in.npz", **inputs)
    arguments = ["run", str(tmp_path / "a"), "-i", str(tmp_path / "in.npz"), "--engine", "stream"]
    for command in (arguments, ["inspect", str(tmp_path / "a")]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1
        assert "error[FX431]" in result.stderr


def test_a_training_step_quantizes_the_nine_points(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(small_resnet().SerializeToString())
    text = 'name = "p"\ndescription = "d"\n[default]\nformat = "FB16"\nresult.format = "FB24"\n'
    (tmp_path / "p.toml").write_text(text)
    program = flexc.compile(
        path, profile="bfpsim", policy=str(tmp_path / "p.toml"), training=TrainingOptions()
    )
    ops = list(program.graph.main.body.block.ops)
    assert not [op for op in ops if isinstance(op, bfp.ConvOp | bfp.MatMulOp | lightnorm.ForwardOp)]
    contractions = [op for op in ops if role_of(op) is not None]
    assert {type(op) for op in contractions} == {
        nn.ConvOp,
        nn.MatMulOp,
        nn.ConvLocalGradOp,
        nn.ConvWeightGradOp,
    }
    for op in contractions:
        assert all(isinstance(operand.owner, bfp.DequantizeOp) for operand in op.operands[:2])
        (stored,) = (use.operation for use in op.results[0].uses)
        assert bfp.OF_RESULT in stored.attributes
    uses = [use for one in quantized_operands(program.graph) for use in one.uses]
    assert len(uses) == 2 * len(contractions)
    assert all(one.format.mantissa_bits == 8 for one in quantized_operands(program.graph))


def test_it_trains(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(small_resnet().SerializeToString())
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 5
    images = rng.standard_normal((24, 3, 12, 12)).astype(np.float32) + labels[:, None, None, None]
    np.savez(tmp_path / "data.npz", images=images.astype(np.float32), labels=labels)
    arguments = ["train", str(path), "--data", str(tmp_path / "data.npz"), "--batch", "6", "--epochs", "1"]
    for run in ("a", "b"):
        more = ["--profile", "bfpsim", "--policy", "FB12LG16WG16", "-o", str(tmp_path / run)]
        result = CliRunner().invoke(main, [*arguments, *more])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "a" / "metrics.csv").read_bytes() == (tmp_path / "b" / "metrics.csv").read_bytes()
    assert "ZSE activation" in result.stdout
