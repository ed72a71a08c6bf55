"""Configurations of the published emulator: what they mean as policies, and that nothing is guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from flexc.cli import main
from flexc.diagnostics import CompileError
from flexc.numerics.block_float import BlockFormat, Rounding, Sign
from flexc.precision.emulator_file import parse_emulator_file
from flexc.precision.layers import Layer, LayerKind
from flexc.precision.loading import load_policy
from flexc.precision.policy import POINTS, Operand, OperandFormat, Policy
from flexc.precision.policy_file import parse_policy
from flexc.precision.policy_text import policy_text

CONV = frozenset({LayerKind.CONV})
OPERANDS = [point for point, (_, operand) in POINTS.items() if operand is not Operand.RESULT]
DEFAULT: dict[str, Any] = {
    key: value
    for number, point in enumerate(OPERANDS)
    for key, value in ((f"{point}_bit", number + 3), (f"{point}_dim", [1, 8 * number + 8, 1, 1]))
}


def parsed(configuration: object) -> Policy:
    text = configuration if isinstance(configuration, str) else json.dumps(configuration)
    return parse_emulator_file(text, "c.json", "c")


def at(policy: Policy, point: str, layer: str = "x") -> OperandFormat | None:
    pass_, operand = POINTS[point]
    return policy.operand(Layer(layer, CONV), operand, pass_)


def test_the_nine_points() -> None:
    policy = parsed({"default": {**DEFAULT, "big_bit": 8, "big_dim": [1, 216, 3, 3]}})
    for number, point in enumerate(OPERANDS):
        found = at(policy, point)
        assert found is not None
        assert found.block == BlockFormat(number + 3, Sign.SEPARATE)
        assert (found.tile, found.rounding) == ((1, 8 * number + 8, 1, 1), Rounding.TRUNCATE)
    assert (at(policy, "fo"), at(policy, "bwg")) == (None, None)
    big = at(policy, "big")
    assert big is not None
    assert (big.block.mantissa_bits, big.tile) == (8, (1, 216, 3, 3))


def test_a_layer_takes_from_default_what_it_does_not_say() -> None:
    entries = {
        "a*": {"fi_bit": 9},
        "b": {"fi_dim": [1, 2, 1, 1], "fo_bit": 4, "fo_dim": [1, 4, 1, 1]},
        "c": {},
    }
    policy = parsed({"default": DEFAULT, **entries})
    assert len(policy.overrides) == 2
    expected = {
        "a*": (9, (1, 8, 1, 1)),
        "b": (3, (1, 2, 1, 1)),
        "c": (3, (1, 8, 1, 1)),
        "aa": (3, (1, 8, 1, 1)),
    }
    for layer, wanted in expected.items():
        found = at(policy, "fi", layer)
        assert found is not None
        assert (found.block.mantissa_bits, found.tile) == wanted
        assert at(policy, "fw", layer) == at(policy, "fw")
        assert (at(policy, "fo", layer) is None) == (layer != "b")


def test_everything_wrong_is_said_at_once() -> None:
    wrong = """{
      "default": {"fi_bit": 4, "fi_dims": [1], "fi_dim": [1, 612, 3, 3], "fw_bit": "4", "fw_dim": [],
                  "type": 1, "bio_bit": 4, "biw_bit": 25, "biw_dim": [1, 0, 1, 1], "bwo_bit": true,
                  "bwo_dim": [1, 2.0, 1, 1], "fo_dim": 216, "fo_bit": {}},
      "conv1": {"big_dim": [1, 612, 3, 3]},
      "conv2": 3,
      "conv3": {"fi_bit": 4, "fi_bit": 8},
      "conv3": {}
    }"""
    with pytest.raises(CompileError) as caught:
        parsed(wrong)
    found = [(one.code, one.message) for one in caught.value.diagnostics]
    slip = "[1, 612, 3, 3], which looks like [1, 216, 3, 3] with digits exchanged"
    assert all(one.place.file == "c.json" for one in caught.value.diagnostics)
    assert found == [
        ("FX327", "[default]: unknown key 'fi_dims'"),
        ("FX328", f"[default]: 'fi_dim' is {slip}"),
        ("FX328", "[default]: 'fw_bit' must be an integer from 1 to 24, not \"4\""),
        ("FX328", "[default]: 'fw_dim' must be a list of integers from 1 on, not []"),
        ("FX327", "[default]: unknown key 'type'"),
        ("FX328", "[default]: 'biw_bit' must be an integer from 1 to 24, not 25"),
        ("FX328", "[default]: 'biw_dim' must be a list of integers from 1 on, not [1, 0, 1, 1]"),
        ("FX328", "[default]: 'bwo_bit' must be an integer from 1 to 24, not true"),
        ("FX328", "[default]: 'bwo_dim' must be a list of integers from 1 on, not [1, 2.0, 1, 1]"),
        ("FX328", "[default]: 'fo_dim' must be a list of integers from 1 on, not 216"),
        ("FX328", "[default]: 'fo_bit' must be an integer from 1 to 24, not an object"),
        ("FX328", f"[conv1]: 'big_dim' is {slip}"),
        ("FX326", "[conv2]: 3 stands where an object should"),
        ("FX327", "[conv3]: the key 'fi_bit' is given twice"),
        ("FX327", "the key 'conv3' is given twice"),
        ("FX329", "[default]: the key 'bio_dim' is missing"),
        ("FX329", "[conv1]: the key 'big_bit' is missing"),
    ]  # fmt: skip
    hints = [one.hint for one in caught.value.diagnostics]
    assert hints[:2] == ["did you mean 'fi_dim'?", "write the box that is meant"]


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("", "FX326", "not JSON"),
        ('{"default": {}', "FX326", "line 1"),
        ("[]", "FX326", "[] stands where an object should"),
        ("[" * 100_000, "FX326", "not JSON"),
        ("{}", "FX329", "there is no 'default'"),
        ('{"default": [{}]}', "FX326", "[default]: [{}] stands"),
        ('{"default": {"fi_bit": NaN, "fi_dim": [1]}}', "FX328", "not NaN"),
    ],
)
def test_what_is_no_configuration(text: str, code: str, part: str) -> None:
    with pytest.raises(CompileError) as caught:
        parsed(text)
    assert [one.code for one in caught.value.diagnostics] == [code]
    assert part in str(caught.value)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, dict[str, object]]:
    boxes = st.lists(st.integers(1, 300), min_size=1, max_size=4).filter(lambda box: box != [1, 612, 3, 3])
    entry = st.dictionaries(st.sampled_from(list(POINTS)), st.tuples(st.integers(1, 24), boxes))
    layers = st.dictionaries(st.text(max_size=6), entry, max_size=3)
    found: dict[str, dict[str, object]] = {}
    for layer, points in {**draw(layers), "default": draw(entry)}.items():
        bits = {f"{point}_bit": bits for point, (bits, _) in points.items()}
        found[layer] = {**bits, **{f"{point}_dim": box for point, (_, box) in points.items()}}
    return found


@given(configurations())
@settings(max_examples=60, deadline=None)
def test_an_imported_policy_is_what_its_file_says(configuration: dict[str, dict[str, object]]) -> None:
    policy = parsed(configuration)
    assert parse_policy(policy_text(policy), "c.toml") == policy
    for layer, entry in configuration.items():
        for point in POINTS:
            found = at(policy, point, layer)
            whole = configuration["default"] | (entry if layer != "default" else {})
            if f"{point}_bit" in whole:
                assert found is not None
                assert [found.block.mantissa_bits, list(found.tile or ())] == [
                    whole[f"{point}_bit"],
                    whole[f"{point}_dim"],
                ]
            else:
                assert found is None


def test_import_writes_a_policy(tmp_path: Path) -> None:
    configuration, output = tmp_path / "paper.json", tmp_path / "paper.toml"
    configuration.write_text(json.dumps({"default": DEFAULT, "conv1": {"fi_bit": 9}}))
    result = CliRunner().invoke(main, ["policies", "import", str(configuration), "-o", str(output)])
    assert (result.exit_code, result.stdout) == (0, f"wrote {output}: the default and 1 layers\n")
    assert load_policy(str(output)) == load_policy(str(configuration))
    assert load_policy(str(output)).name == "paper"
    shown = CliRunner().invoke(main, ["policies", str(configuration)])
    assert "[1, 16, 1, 1]" in shown.stdout


def test_import_leaves_nothing_behind_on_errors(tmp_path: Path) -> None:
    configuration, output = tmp_path / "paper.json", tmp_path / "paper.toml"
    for content in (b'{"default": {"fi": true}}', b"\xff\xfe"):
        configuration.write_bytes(content)
        result = CliRunner().invoke(main, ["policies", "import", str(configuration), "-o", str(output)])
        assert result.exit_code == 1
        assert not output.exists()
    result = CliRunner().invoke(main, ["policies", "import", str(tmp_path / "no.json"), "-o", str(output)])
    assert "FX320" in result.stderr


def test_the_documented_example_is_a_configuration() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
    policy = parsed(docs.partition("```json\n")[2].partition("```")[0])
    (fi, first) = at(policy, "fi"), at(policy, "fi", "conv1")
    assert fi is not None
    assert first is not None
    assert (fi.block.mantissa_bits, first.block.mantissa_bits, first.tile) == (4, 16, (1, 54, 1, 1))
