"""`flexc diff`: what two artefacts have different, and the first bit in which their values part."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import numpy_helper

import flexc
from flexc.analysis.diff import schedule_difference
from flexc.analysis.value_diff import first_parting, value_difference
from flexc.cli import main
from tests.inspected_model import residual_model
from tests.json_schema import violations
from tests.onnx_models import random, save

INPUTS = {"x": random(2, 40, 12, 12)}


def changed_weight(name: str, index: tuple[int, ...], flip: int) -> onnx.ModelProto:
    """The model with some bits of one weight flipped."""
    model = residual_model()
    (tensor,) = (one for one in model.graph.initializer if one.name == name)
    array = np.array(numpy_helper.to_array(tensor))
    array.view(np.uint32)[index] ^= flip
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diff")
    model = save(residual_model(), folder)
    for policy in ("FB12", "FB16"):
        flexc.compile(model, policy=policy, output=folder / policy)
    np.savez(folder / "in.npz", **INPUTS)  # type: ignore[arg-type]  # names of arrays, not parameters
    return folder


def diff(folder: Path, a: str, b: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["diff", str(folder / a), str(folder / b), *options])


def test_formats_mappings_cycles_and_bytes_side_by_side(folder: Path) -> None:
    a, b = flexc.load(folder / "FB16").schedule, flexc.load(folder / "FB12").schedule
    found = schedule_difference(a, b)
    assert (found.a.cycles, found.b.cycles) == (a.cycles, b.cycles)
    parts = {(part.layer, part.part): part for part in found.parts}
    conv = parts["block.conv2", "forward"]
    assert conv.a is not None
    assert conv.b is not None
    assert conv.a.formats == ("m8 1x40x1x1 x m8 1x40x1x1",)
    assert conv.b.formats == ("m4 1x40x1x1 x m4 1x40x1x1",)
    assert conv.a.mappings != conv.b.mappings
    assert conv.b.dram_bytes < conv.a.dram_bytes
    for side, schedule in ((found.a, a), (found.b, b)):
        assert side.energy_by_component_pj == schedule.energy_by_component_pj
        assert side.energy_pj == schedule.energy_pj
    counted = [part.a.dram_bytes for part in found.parts if part.a is not None]
    assert sum(counted) == a.read_bytes + a.written_bytes
    spent = [part.a.energy_pj for part in found.parts if part.a is not None]
    assert sum(spent) == pytest.approx(a.energy_pj)


def test_parts_of_one_side_alone_come_last(folder: Path) -> None:
    plain = flexc.compile(folder / "model.onnx", policy="fp32").schedule
    found = schedule_difference(plain, flexc.load(folder / "FB16").schedule)
    only = [part for part in found.parts if part.a is None]
    assert ("block.conv1", "convert") in {(part.layer, part.part) for part in only}
    assert list(found.parts[-len(only) :]) == only


def test_an_artefact_does_not_differ_from_itself(folder: Path) -> None:
    result = diff(folder, "FB16", "FB16", "--input", str(folder / "in.npz"))
    assert result.exit_code == 0
    assert "\n7 of 7 layers and parts are the same\n" in result.stdout
    assert "values: equal in every bit (19 tensors compared, 0 are in one" in result.stdout
    assert "block.conv1" not in result.stdout
    assert "block.conv1" in diff(folder, "FB16", "FB16", "--all").stdout


def test_options_that_only_one_has_differ(folder: Path) -> None:
    flexc.compile(folder / "model.onnx", input_shapes={"x": (2, 40, 12, 12)}, output=folder / "shapes")
    found = json.loads(diff(folder, "FB16", "shapes", "--json").stdout)["options"]
    assert found == {"input_shapes.x": {"a": "-", "b": [2, 40, 12, 12]}}


def test_artefacts_of_different_models_say_so(folder: Path) -> None:
    model = residual_model()
    model.graph.node[0].name = "another"
    for name in ("other.onnx", "model.onnx"):
        (folder / "others").mkdir(exist_ok=True)
        flexc.compile(
            save(model, folder / "others", name), policy="FB16", output=folder / "others" / name[:-5]
        )
    found = json.loads(diff(folder, "FB16", "others/other", "--json").stdout)
    assert violations(found, "diff.json") == []
    assert found["options"] == {"model": {"a": "model.onnx", "b": "other.onnx"}}
    of_one_name = json.loads(diff(folder, "FB16", "others/model", "--json").stdout)["options"]["model"]
    assert of_one_name["a"] != of_one_name["b"]
    assert of_one_name["a"].startswith("model.onnx (")
    assert "other.onnx" in diff(folder, "FB16", "others/other").stdout


def test_json_follows_the_schema(folder: Path) -> None:
    result = diff(folder, "FB16", "FB12", "--input", str(folder / "in.npz"), "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    assert violations(found, "diff.json") == []
    assert found["options"] == {"policy": {"a": "FB16", "b": "FB12"}}
    assert found["values"]["only_in_one"] == 0
    assert found["values"]["parting"]["node"] == "block.conv1"
    without: dict[str, Any] = json.loads(diff(folder, "FB16", "FB12", "--json").stdout)
    assert without == {**found, "values": None}
    assert violations({**found, "b": None}, "diff.json") != []


def test_the_table_shows_both_mappings_on_request(folder: Path) -> None:
    plain = diff(folder, "FB16", "FB12").stdout
    found = diff(folder, "FB16", "FB12", "--mappings").stdout
    assert found.startswith(plain)
    assert "block.conv2, forward\n  a: stream b, lane [k 12]" in found
    assert "\n  b: stream b, lane [k 24]" in found
    assert "every rate, size and energy behind these is assumed of flexblock\n" in plain


@pytest.mark.parametrize("flip", [1, 1 << 31, 1 << 23 | 1])
def test_the_changed_element_of_a_weight_is_where_values_part(tmp_path: Path, flip: int) -> None:
    a = flexc.compile(save(residual_model(), tmp_path), profile="fp32")
    b = flexc.compile(save(changed_weight("w2", (3, 5, 1, 2), flip), tmp_path, "b.onnx"), profile="fp32")
    parting = value_difference(a, b, INPUTS).parting
    assert parting is not None
    assert (parting.tensor, parting.node, parting.index) == ("w[w2]", "", (3, 5, 1, 2))
    assert parting.bit == flip.bit_length() - 1
    assert int(parting.a_bits, 16) ^ int(parting.b_bits, 16) == flip


def test_the_first_tensor_in_the_order_of_execution_is_named(tmp_path: Path) -> None:
    a = flexc.compile(save(residual_model(), tmp_path))
    b = flexc.compile(save(changed_weight("b", (7,), 1 << 22), tmp_path, "b.onnx"))
    found = value_difference(a, b, INPUTS)
    assert found.parting is not None
    assert found.parting.tensor == "w[b]"
    other = flexc.compile(save(residual_model(), tmp_path), rounding="truncate")
    parting = value_difference(a, other, INPUTS).parting
    assert parting is not None
    assert parting.tensor == "x_m8"


def test_quantized_tensors_of_other_widths_are_compared_by_value(tmp_path: Path) -> None:
    model = save(residual_model(), tmp_path)
    programs = [flexc.compile(model, policy=policy, everywhere=True) for policy in ("FB16", "FB24")]
    powers = {"x": np.full((2, 40, 12, 12), 0.5, np.float32)}
    parting = value_difference(programs[0], programs[1], powers).parting
    assert parting is not None
    assert parting.tensor == "w[w1.m8]"


def test_bits_of_zeros_and_nans_count() -> None:
    a, b = np.array([[0.0, 1.0]], np.float32), np.array([[-0.0, 1.0]], np.float32)
    found = first_parting("t", "n", a, b)
    assert found is not None
    assert (found.index, found.bit, found.a_bits, found.b_bits) == ((0, 0), 31, "00000000", "80000000")
    nan = np.array([[0.0, math.nan]], np.float32)
    assert first_parting("t", "n", nan, nan.copy()) is None
    integers = first_parting("t", "n", np.array([4, 5]), np.array([4, 7]))
    assert integers is not None
    assert (integers.index, integers.bit) == ((1,), 1)


def test_inputs_that_do_not_fit_are_an_error(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", y=np.zeros(3))
    result = diff(folder, "FB16", "FB12", "--input", str(tmp_path / "in.npz"))
    assert result.exit_code == 1
    assert "FX501" in result.stderr
    assert result.stdout == ""
