"""Small models through the whole chain: compiled, saved, loaded, run, and compared with onnxruntime."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

import flexc
from flexc.analysis.compare import compare_outputs, run_onnxruntime
from flexc.backends.stream.assemble import assemble
from flexc.backends.stream.encode import encode
from flexc.cli import main
from flexc.diagnostics import CompileError
from flexc.program import Engine, Program
from tests.json_schema import violations

Array = npt.NDArray[Any]


def random(seed: int, *shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, Array],
    inputs: dict[str, list[int | str]],
    output: str,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def convolutional(path: Path) -> Path:
    """conv, batch norm, relu, depthwise conv, residual add, pooling, linear; the batch is open."""
    weights: dict[str, Array] = {
        "w1": random(1, 8, 3, 3, 3) / 5,
        "gamma": np.abs(random(2, 8)) + np.float32(0.5),
        "beta": random(3, 8),
        "mean": random(4, 8) / 10,
        "var": np.abs(random(5, 8)) + np.float32(0.5),
        "w2": random(6, 8, 1, 3, 3) / 3,
        "b2": random(7, 8),
        "w3": random(8, 8, 5),
        "b3": random(9, 5),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], "conv1", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "gamma", "beta", "mean", "var"], ["n1"], "norm1"),
        helper.make_node("Relu", ["n1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", pads=[1, 1, 1, 1], group=8),
        helper.make_node("Add", ["c2", "r1"], ["sum"], "residual"),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["logits"], "head"),
    ]
    return save(path, nodes, weights, {"image": ["batch", 3, 16, 16]}, "logits")


def attention(path: Path) -> Path:
    """Scaled dot-product attention with softmax and layer norm."""
    weights: dict[str, Array] = {
        "wq": random(1, 12, 12) / 3,
        "wk": random(2, 12, 12) / 3,
        "wv": random(3, 12, 12) / 3,
        "scale": np.array(12**-0.5, np.float32),
        "gamma": np.ones(12, np.float32),
        "beta": random(4, 12),
    }
    nodes = [
        helper.make_node("MatMul", ["tokens", "wq"], ["q"], "query"),
        helper.make_node("MatMul", ["tokens", "wk"], ["k"], "key"),
        helper.make_node("MatMul", ["tokens", "wv"], ["v"], "value"),
        helper.make_node("Transpose", ["k"], ["kt"], "transpose", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["scores"], "scores"),
        helper.make_node("Mul", ["scores", "scale"], ["scaled"], "scale"),
        helper.make_node("Softmax", ["scaled"], ["weights"], "softmax", axis=-1),
        helper.make_node("MatMul", ["weights", "v"], ["mixed"], "mix"),
        helper.make_node("LayerNormalization", ["mixed", "gamma", "beta"], ["y"], "norm"),
    ]
    return save(path, nodes, weights, {"tokens": [2, 7, 12]}, "y")


MODELS: dict[str, tuple[Callable[[Path], Path], dict[str, Array]]] = {
    "convolutional": (convolutional, {"image": random(0, 2, 3, 16, 16)}),
    "attention": (attention, {"tokens": random(0, 2, 7, 12)}),
}
LEAST_SQNR_DB = {"FB12": 5.0, "FB16": 20.0, "FB24": 20.0}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Array]]:
    make, inputs = MODELS[request.param]
    return make(tmp_path / f"{request.param}.onnx"), inputs


def names_in_dram(program: Program) -> set[str]:
    """The arrays of all intermediates and outputs that the stream stores."""
    symbols = [symbol for symbol in program.stream.symbols if symbol.kind in ("intermediate", "output")]
    assert any(symbol.kind == "intermediate" for symbol in symbols)
    plain = {symbol.name for symbol in symbols if len(symbol.planes) == 1}
    blocks = {symbol.name for symbol in symbols if len(symbol.planes) == 2}
    return plain | {name + plane for name in blocks for plane in (".mantissa", ".exponent")}


def flexc_command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_fp32_profile_is_onnxruntime(model: tuple[Path, dict[str, Array]]) -> None:
    path, inputs = model
    program = flexc.compile(path, profile="fp32", batch=2)
    (apart,) = compare_outputs(run_onnxruntime(path, inputs), program.run(inputs))
    assert apart.sqnr_db is not None
    assert apart.sqnr_db > 100


@pytest.mark.parametrize("policy", LEAST_SQNR_DB)
def test_both_engines_agree_and_stay_near_onnxruntime(
    model: tuple[Path, dict[str, Array]], policy: str
) -> None:
    path, inputs = model
    program = flexc.compile(path, policy=policy, everywhere=True, batch=2)
    result = program.run_engine(inputs, "both")
    assert result.agreement is not None
    assert result.agreement.difference is None
    assert set(result.agreement.compared) >= names_in_dram(program)
    (apart,) = compare_outputs(run_onnxruntime(path, inputs), result.outputs)
    assert apart.sqnr_db is not None
    assert apart.sqnr_db > LEAST_SQNR_DB[policy]


def test_saved_and_loaded_programs_give_the_same_bytes(
    model: tuple[Path, dict[str, Array]], tmp_path: Path
) -> None:
    path, inputs = model
    program = flexc.compile(path, output=tmp_path / "a", batch=2)
    loaded = flexc.load(tmp_path / "a")
    assert (loaded.inputs, loaded.outputs, loaded.options) == (
        program.inputs,
        program.outputs,
        program.options,
    )
    assert loaded.source == program.source
    expected = program.run(inputs)
    for found in (loaded.run(inputs), loaded.run(inputs, engine="both")):
        assert {name: array.tobytes() for name, array in found.items()} == {
            name: array.tobytes() for name, array in expected.items()
        }


def test_a_loaded_program_is_saved_as_the_same_bytes(
    model: tuple[Path, dict[str, Array]], tmp_path: Path
) -> None:
    flexc.compile(model[0], output=tmp_path / "a", batch=2)
    flexc.load(tmp_path / "a").save(tmp_path / "b")
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_the_listing_assembles_to_the_stream(model: tuple[Path, dict[str, Array]], tmp_path: Path) -> None:
    flexc.compile(model[0], output=tmp_path / "a", batch=2)
    listing = (tmp_path / "a" / "stream.s").read_text(encoding="utf-8")
    assert encode(assemble(listing, tmp_path / "a")) == (tmp_path / "a" / "stream.bin").read_bytes()


def test_the_schedule_accounts_for_every_group(model: tuple[Path, dict[str, Array]], tmp_path: Path) -> None:
    program = flexc.compile(model[0], output=tmp_path / "a", batch=2)
    schedule = program.schedule
    document = json.loads((tmp_path / "a" / "schedule.json").read_text(encoding="utf-8"))
    assert violations(document, "schedule.json") == []
    assert flexc.load(tmp_path / "a").schedule == schedule
    for total in ("macs", "read_bytes", "written_bytes", "instructions"):
        assert getattr(schedule, total) == sum(getattr(group, total) for group in schedule.groups) > 0
    contractions = [one for group in schedule.groups for one in group.contractions]
    assert schedule.macs == sum(one.macs for one in contractions)
    assert 0 < schedule.end_to_end_utilization <= schedule.spatial_utilization <= 1
    assert schedule.cycles == max(group.end_cycle for group in schedule.groups)
    nodes = json.dumps([group["nodes"] for group in document["groups"]])
    for name in ("conv1", "conv2", "head") if "conv" in model[0].name else ("query", "scores", "mix"):
        assert f'"{name}"' in nodes


def test_the_fp32_profile_agrees_within_a_tolerance(tmp_path: Path) -> None:
    program = flexc.compile(
        convolutional(tmp_path / "small.onnx"), output=tmp_path / "a", batch=2, profile="fp32"
    )
    for each in (program, flexc.load(tmp_path / "a")):
        agreement = each.run_engine(MODELS["convolutional"][1], "both").agreement
        assert agreement is not None
        assert agreement.difference is None
        assert agreement.compared
        assert not agreement.exact


def test_the_program_runs_alone(model: tuple[Path, dict[str, Array]], tmp_path: Path) -> None:
    path, inputs = model
    expected = flexc.compile(path, output=tmp_path / "a", batch=2).run(inputs)
    np.savez(tmp_path / "in.npz", **inputs)  # type: ignore[arg-type]
    script = (
        "import runpy, sys; sys.argv = ['executor.py', 'in.npz', 'out.npz']; "
        "runpy.run_path('a/executor.py', run_name='__main__'); "
        "assert not {'xdsl', 'onnx', 'onnxruntime', 'click'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    with np.load(tmp_path / "out.npz") as found:
        assert {name: found[name].tobytes() for name in found} == {
            k: v.tobytes() for k, v in expected.items()
        }


def test_compile_and_run_commands(tmp_path: Path) -> None:
    path = convolutional(tmp_path / "small.onnx")
    inputs = MODELS["convolutional"][1]
    np.savez(tmp_path / "in.npz", **inputs)  # type: ignore[arg-type]
    compiled = flexc_command("compile", path, "-o", tmp_path / "a", "--batch", "2", "--verify-each")
    assert compiled.exit_code == 0, compiled.output
    assert compiled.stdout.splitlines()[0] == "input  'image' float32 [2, 3, 16, 16]"
    ran = flexc_command(
        "run", tmp_path / "a", "--input", tmp_path / "in.npz", "--output", tmp_path / "out.npz",
        "--engine", "both", "--compare", "onnxruntime", "--dump-tensors", tmp_path / "tensors", "--json",
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    report = json.loads(ran.stdout)
    assert (report["schema"], report["schema_version"]) == ("flexc.run", 1)
    assert report["agreement"]["difference"] is None
    assert [entry["name"] for entry in report["outputs"]] == ["logits"]
    assert [(entry["op_type"], entry["fused_activation"]) for entry in report["layers"]] == [
        ("Conv", None),
        ("BatchNormalization", "relu"),
        ("Conv", None),
        ("Add", None),
        ("GlobalAveragePool", None),
        ("Flatten", None),
        ("Gemm", None),
    ]
    with np.load(tmp_path / "out.npz") as found:
        assert found["logits"].tobytes() == flexc.load(tmp_path / "a").run(inputs)["logits"].tobytes()
    assert {"c1.npy", "sum.npy"} <= {file.name for file in (tmp_path / "tensors").iterdir()}


def test_a_model_that_moved_is_named(tmp_path: Path) -> None:
    path = convolutional(tmp_path / "small.onnx")
    np.savez(tmp_path / "in.npz", **MODELS["convolutional"][1])  # type: ignore[arg-type]
    flexc.compile(path, output=tmp_path / "a", batch=2)
    moved = path.rename(tmp_path / "moved.onnx")
    command: list[str | Path] = ["run", tmp_path / "a", "-i", tmp_path / "in.npz", "--compare", "onnxruntime"]
    assert "FX521" in flexc_command(*command).stderr
    assert flexc_command(*command, "--model", moved).exit_code == 0
    attention(path)
    assert "FX522" in flexc_command(*command).stderr


def test_inputs_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    path = convolutional(tmp_path / "small.onnx")
    flexc.compile(path, output=tmp_path / "a", batch=2)
    np.savez(tmp_path / "in.npz", picture=np.zeros(3))
    result = flexc_command("run", tmp_path / "a", "-i", tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    assert result.exit_code == 1
    assert "error[FX501]: input 'image' is missing" in result.stderr
    assert "error[FX502]: the model has no input 'picture'" in result.stderr
    assert not (tmp_path / "out.npz").exists()


def test_an_open_batch_has_to_be_given(tmp_path: Path) -> None:
    result = flexc_command("compile", convolutional(tmp_path / "small.onnx"), "-o", tmp_path / "a")
    assert result.exit_code == 1
    assert "image" in result.stderr
    assert not (tmp_path / "a").exists()


def test_a_nan_names_the_node(tmp_path: Path) -> None:
    program = flexc.compile(convolutional(tmp_path / "small.onnx"), output=tmp_path / "a", batch=2)
    image = MODELS["convolutional"][1]["image"].copy()
    image[1, 2, 3, 4] = np.inf
    loaded = flexc.load(tmp_path / "a")
    engines: tuple[Engine, ...] = ("executor", "stream", "both")
    for each, engine in itertools.product((program, loaded), engines):
        with pytest.raises(CompileError, match=r"FX601.*'conv1' \(Conv, node 0\)") as failure:
            each.run({"image": image}, engine)
        assert "index [1, 2, 3, 4]" in str(failure.value)


@pytest.mark.parametrize(
    ("option", "value"), [("profile", "fp64"), ("batchnorm", "none"), ("rounding", "up"), ("policy", "FB13")]
)
def test_unknown_choices_are_user_errors(tmp_path: Path, option: str, value: str) -> None:
    arguments: dict[str, Any] = {option: value}
    with pytest.raises(CompileError):
        flexc.compile(convolutional(tmp_path / "small.onnx"), batch=2, **arguments)
