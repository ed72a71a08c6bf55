"""Policies: how rules combine, what files may say, and what the named ones do."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexc.diagnostics import CompileError
from flexc.numerics.block_float import BlockFormat, Rounding, Sign
from flexc.precision.layers import Layer, LayerKind
from flexc.precision.loading import DEFAULT_POLICY, catalog_names, load_policy
from flexc.precision.policy import OPERANDS_OF_PASS, POINTS, Operand, OperandFormat, Policy, TrainingPass
from flexc.precision.policy_file import parse_policy
from flexc.precision.rounding import parse_roundings

PLAIN = Layer("conv", frozenset({LayerKind.CONV}))
FIRST = Layer("stem", frozenset({LayerKind.CONV}), first=True)
SHORTCUT = Layer("down", frozenset({LayerKind.CONV, LayerKind.POINTWISE, LayerKind.SHORTCUT}))
CLASSIFIER = Layer("fc", frozenset({LayerKind.LINEAR}), last=True)
HEAD = 'name = "p"\ndescription = "d"\n'


def policy(body: str) -> Policy:
    return parse_policy(HEAD + body, "p.toml")


def bits(
    of: Policy,
    layer: Layer = PLAIN,
    operand: Operand = Operand.ACTIVATION,
    pass_: TrainingPass = TrainingPass.FORWARD,
) -> int | None:
    found = of.operand(layer, operand, pass_)
    return None if found is None else found.block.mantissa_bits


def test_named_policies() -> None:
    narrow = ("FB12", "FB12LG16", "FB12LG16WG16", "FB12LG24", "FB12WG16", "FB12WG24")
    assert catalog_names() == (*narrow, "FB16", "FB16A-FB12W", "FB16LG24", "FB24", "fp32")
    assert DEFAULT_POLICY == "FB16"
    for name in catalog_names():
        assert load_policy(name).name == name


@pytest.mark.parametrize(
    ("name", "mantissa", "group"), [("FB12", 4, 216), ("FB16", 8, 108), ("FB24", 16, 54)]
)
def test_formats_bring_their_group_length(name: str, mantissa: int, group: int) -> None:
    for operand in (Operand.ACTIVATION, Operand.WEIGHT):
        found = load_policy(name).operand(PLAIN, operand)
        assert found == OperandFormat(BlockFormat(mantissa), group, Rounding.NEAREST)


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("FB12", (4, 4, 4)),
        ("FB12LG16", (4, 8, 4)),
        ("FB12LG24", (4, 16, 4)),
        ("FB12WG16", (4, 4, 8)),
        ("FB12WG24", (4, 4, 16)),
        ("FB12LG16WG16", (4, 8, 8)),
        ("FB16LG24", (8, 16, 8)),
        ("fp32", (None, None, None)),
    ],
)
def test_widths_by_pass(name: str, widths: tuple[int | None, ...]) -> None:
    policy = load_policy(name)
    for pass_, width in zip(TrainingPass, widths, strict=True):
        for operand in OPERANDS_OF_PASS[pass_]:
            assert bits(policy, PLAIN, operand, pass_) == width


@pytest.mark.parametrize("name", ["FB12", "FB12LG16WG16", "FB16A-FB12W"])
@pytest.mark.parametrize("layer", [FIRST, SHORTCUT, CLASSIFIER])
def test_narrow_policies_keep_the_sensitive_layers_wide(name: str, layer: Layer) -> None:
    narrow = load_policy(name)
    wide = load_policy(name, everywhere=True)
    for operand in (Operand.ACTIVATION, Operand.WEIGHT):
        assert bits(narrow, layer, operand) == 16
        assert bits(wide, layer, operand) == bits(narrow, PLAIN, operand) != 16


def test_mixed_policy() -> None:
    mixed = load_policy("FB16A-FB12W")
    assert (bits(mixed), bits(mixed, operand=Operand.WEIGHT)) == (8, 4)


def test_narrower_settings_win_in_a_rule() -> None:
    found = policy("""
[default]
format = "FB24"
weight = { format = "FB16" }
[default.local_grad]
format = "FB12"
gradient = { rounding = "stochastic" }
""")
    assert bits(found) == 16
    assert bits(found, operand=Operand.WEIGHT) == 8
    assert bits(found, operand=Operand.WEIGHT, pass_=TrainingPass.LOCAL_GRAD) == 4
    gradient = found.operand(PLAIN, Operand.GRADIENT, TrainingPass.LOCAL_GRAD)
    assert gradient == OperandFormat(BlockFormat(4), 216, Rounding.STOCHASTIC)
    in_weight_grad = found.operand(PLAIN, Operand.GRADIENT, TrainingPass.WEIGHT_GRAD)
    assert in_weight_grad == OperandFormat(BlockFormat(16), 54, Rounding.NEAREST)


def test_later_overrides_win_and_a_format_ends_earlier_lengths() -> None:
    found = policy("""
[default]
format = "FB16"
group_length = 36
activation = { tile = [1, 8, 1, 1] }
[[override]]
node = "conv"
rounding = "truncate"
[[override]]
kind = "conv"
weight = { format = "FB12" }
[[override]]
node = "c*v"
first = false
group_length = 9
""")
    activation = found.operand(PLAIN, Operand.ACTIVATION)
    assert activation == OperandFormat(BlockFormat(8), 9, Rounding.TRUNCATE, (1, 8, 1, 1))
    assert found.operand(PLAIN, Operand.WEIGHT) == OperandFormat(BlockFormat(4), 9, Rounding.TRUNCATE)
    stem_weight = found.operand(FIRST, Operand.WEIGHT)
    assert stem_weight == OperandFormat(BlockFormat(4), 216, Rounding.NEAREST)


def test_conditions_are_all_needed() -> None:
    found = policy(
        '[default]\nformat = "FB16"\n[[override]]\nkind = "linear"\nlast = true\nformat = "fp32"\n'
    )
    assert bits(found, CLASSIFIER) is None
    assert bits(found, Layer("fc1", frozenset({LayerKind.LINEAR}))) == 8
    assert bits(found, Layer("head", frozenset({LayerKind.POINTWISE}), last=True)) == 8


def test_globs_match_whole_names_and_case() -> None:
    found = policy('[default]\nformat = "FB16"\n[[override]]\nnode = "/layer1/*"\nformat = "FB24"\n')
    kinds = frozenset({LayerKind.CONV})
    names = {"/layer1/0/Conv": 16, "x/layer1/0": 8, "/Layer1/0": 8}
    assert {name: bits(found, Layer(name, kinds)) for name in names} == names


def test_formats_of_ones_own() -> None:
    found = policy("""
[formats.W4S]
mantissa_bits = 4
sign = "separate"
group_length = 32
[default]
format = "W4S"
rounding = "truncate"
""")
    assert found.operand(PLAIN, Operand.WEIGHT) == OperandFormat(
        BlockFormat(4, Sign.SEPARATE), 32, Rounding.TRUNCATE
    )


def resolved(of: Policy, layer: Layer = PLAIN) -> dict[str, tuple[int, str] | None]:
    """Bits and the rounding's first letter at the nine points."""
    formats = {point: of.operand(layer, operand, pass_) for point, (pass_, operand) in POINTS.items()}
    return {
        point: None if one is None else (one.block.mantissa_bits, one.rounding[0])
        for point, one in formats.items()
    }


def test_the_names_of_the_nine_points_and_their_readable_ones_are_one() -> None:
    by_point = policy("""
[default]
format = "FB16"
fi.rounding = "truncate"
fo.format = "FB24"
biw = { format = "FB12", rounding = "stochastic" }
bwg = { format = "FB12", tile = [1, 3, 1, 1] }
""")
    by_name = policy("""
[default]
format = "FB16"
[default.forward]
activation.rounding = "truncate"
result.format = "FB24"
[default.local_grad]
weight = { format = "FB12", rounding = "stochastic" }
[default.weight_grad]
result = { format = "FB12", tile = [1, 3, 1, 1] }
""")
    assert by_point.default == by_name.default
    near = (8, "n")
    assert resolved(by_point) == {
        "fi": (8, "t"), "fw": near, "fo": (16, "n"),
        "bio": near, "biw": (4, "s"), "big": None,
        "bwo": near, "bwi": near, "bwg": (4, "n"),
    }  # fmt: skip


def test_results_stay_fp32_unless_they_are_named() -> None:
    found = policy("""
[default]
format = "FB12"
forward.format = "FB16"
fo.format = "FB16"
[[override]]
first = true
format = "FB24"
group_length = 7
rounding = "truncate"
""")
    assert [found.operand(PLAIN, Operand.RESULT, pass_) is None for pass_ in TrainingPass] == [
        False,
        True,
        True,
    ]
    first = found.operand(FIRST, Operand.RESULT)
    assert first == OperandFormat(BlockFormat(8), 108, Rounding.TRUNCATE)
    off = policy("""
[default]
format = "FB12"
result.format = "FB16"
[[override]]
first = true
big.format = "fp32"
""")
    assert off.operand(FIRST, Operand.RESULT, TrainingPass.LOCAL_GRAD) is None
    assert off.operand(FIRST, Operand.RESULT, TrainingPass.WEIGHT_GRAD) is not None


def test_the_other_activation_of_a_product_stands_in_the_weights_place() -> None:
    attention = Layer("scores", frozenset({LayerKind.MATMUL}))
    found = policy("""
[default]
format = "FB16"
activation.format = "FB24"
weight.format = "FB12"
local_grad.weight.rounding = "truncate"
""")
    other = found.operand(attention, Operand.ACTIVATION, TrainingPass.LOCAL_GRAD)
    assert other == OperandFormat(BlockFormat(16), 54, Rounding.TRUNCATE)
    forward = found.operand(attention, Operand.ACTIVATION)
    assert forward == OperandFormat(BlockFormat(16), 54, Rounding.NEAREST)


def test_roundings_by_pass_and_by_point() -> None:
    found = policy("""
[default]
format = "FB16"
result.format = "FB12"
[[override]]
first = true
fw.rounding = "nearest"
""").with_settings(parse_roundings("bio=nearest, local_grad=stochastic, forward=truncate, bwi=stochastic"))
    for layer in (PLAIN, FIRST):
        assert resolved(found, layer) == {
            "fi": (8, "t"), "fw": (8, "t"), "fo": (4, "t"),
            "bio": (8, "n"), "biw": (8, "s"), "big": (4, "s"),
            "bwo": (8, "n"), "bwi": (8, "s"), "bwg": (4, "n"),
        }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("up", "no rounding 'up'"),
        ("neerest", "did you mean 'nearest'?"),
        ("forward", "no rounding 'forward'"),
        ("local_gradient=nearest", "did you mean 'local_grad'?"),
        ("forward=nearest,forward=nearest", "'forward' is given twice"),
        ("forward=nearest,", "no pass or point ''"),
        ("fi=", "no rounding ''"),
        ("fx=nearest", "no pass or point 'fx'"),
        ("", "no rounding ''"),
    ],
)
def test_roundings_are_strict(text: str, part: str) -> None:
    with pytest.raises(CompileError) as caught:
        parse_roundings(text)
    assert "error[FX310]" in str(caught.value)
    assert part in str(caught.value)


def test_one_rounding_for_all() -> None:
    found = policy('[default]\nformat = "FB16"\n[[override]]\nfirst = true\nrounding = "stochastic"\n')
    rounded = found.with_settings(parse_roundings("truncate"))
    for layer in (PLAIN, FIRST):
        operand = rounded.operand(layer, Operand.WEIGHT)
        assert operand is not None
        assert operand.rounding is Rounding.TRUNCATE


@pytest.mark.parametrize(
    ("body", "code", "part"),
    [
        ('[default]\nformat = "FB16"\nformat = "FB12"\n', "FX321", "line 5"),
        ('[default\nformat = "FB16"\n', "FX321", "not TOML"),
        ('[default]\nfromat = "FB16"\n', "FX322", "did you mean 'format'?"),
        ('[default]\nformat = "FB16"\ntile = [1]\n', "FX322", "unknown key 'tile'"),
        ('[default]\nformat = "FB16"\nnode = "x"\n', "FX322", "[default]: unknown key 'node'"),
        ('[default]\nformat = "FB16"\nforward.gradient.format = "FB12"\n', "FX322", "activation, weight"),
        ('[defaults]\nformat = "FB16"\n', "FX322", "did you mean 'default'?"),
        ("", "FX323", "'default' is missing"),
        ('[formats.A]\nmantissa_bits = 4\n[default]\nformat = "A"\n', "FX323", "'group_length' is missing"),
        ('[default]\nformat = "FB13"\n', "FX324", "fp32, FB12, FB16, FB24"),
        ("[default]\nformat = 16\n", "FX324", "must be a string, not 16"),
        ('[default]\nformat = "FB16"\nrounding = "up"\n', "FX324", "nearest, truncate, stochastic"),
        ('[default]\nformat = "FB16"\ngroup_length = 0\n', "FX324", "at least 1"),
        ('[default]\nformat = "FB16"\ngroup_length = true\n', "FX324", "an integer, not True"),
        ('[default]\nformat = "FB16"\nweight.tile = [1, 0]\n', "FX324", "[default.weight]: 'tile'"),
        ('[default]\nformat = "FB16"\nweight = 3\n', "FX324", "a table"),
        ('[formats.FB12]\nmantissa_bits = 4\n[default]\nformat = "FB12"\n', "FX324", "a format already"),
        ('[formats.A]\nmantissa_bits = 40\ngroup_length = 1\n[default]\nformat = "A"\n', "FX324", "1 to 24"),
        ('[default]\nformat = "FB16"\n[override]\nfirst = true\n', "FX324", "array of tables"),
        ('[default]\nformat = "FB16"\n[[override]]\nfirst = 1\nformat = "FB24"\n', "FX324", "true or false"),
        (
            '[default]\nformat = "FB16"\n[[override]]\nkind = "fc"\nformat = "FB24"\n',
            "FX324",
            "shortcut, linear",
        ),
        (
            '[default]\nformat = "FB16"\n[[override]]\nformat = "FB24"\n',
            "FX325",
            "[override 1]: the override has no",
        ),
        ('[default]\nformat = "FB16"\n[[override]]\nfirst = true\n', "FX325", "sets nothing"),
        ('[default]\nrounding = "nearest"\n', "FX325", "no format for activation in forward"),
        (
            '[default]\nweight.format = "FB12"\nactivation.format = "FB12"\n',
            "FX325",
            "gradient in local_grad",
        ),
        (
            '[default]\nweight_grad.format = "FB12"\nforward.format = "FB12"\nbio.format = "FB12"\n'
            'biw.format = "FB12"\nbwi.format = "FB12"\nfi.formt = "FB12"',
            "FX322",
            "[default.fi]: unknown key 'formt'",
        ),
        (
            '[default]\nformat = "FB12"\nbiw.format = "FB12"\nlocal_grad.weight.format = "FB12"\n',
            "FX325",
            "'biw' and 'local_grad.weight' are the same",
        ),
        (
            '[default]\nweight_grad.format = "FB12"\nforward.format = "FB12"\nbio.format = "FB12"\n'
            'weight.format = "FB12"\n',
            "FX325",
            "activation in local_grad",
        ),
    ],
)
def test_files_are_strict(body: str, code: str, part: str) -> None:
    with pytest.raises(CompileError) as caught:
        policy(body)
    message = str(caught.value)
    assert f"error[{code}]" in message
    assert part in message
    assert "p.toml" in message


def test_name_and_description_are_needed() -> None:
    with pytest.raises(CompileError, match="'description' is missing"):
        parse_policy('name = "x"\n[default]\nformat = "FB16"\n', "p.toml")


def test_paths_and_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'{HEAD}[default]\nformat = "FB24"\n')
    assert bits(load_policy(str(path))) == 16
    with pytest.raises(CompileError, match="there is no policy file"):
        load_policy(str(tmp_path / "other.toml"))
    with pytest.raises(CompileError, match="did you mean 'FB16'"):
        load_policy("FP16")
    with pytest.raises(CompileError, match="it is one of FB12, FB12LG16"):
        load_policy("int8")


DOCS = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")


def test_the_documented_example_is_a_policy() -> None:
    example = parse_policy(DOCS.partition("```toml\n")[2].partition("```")[0], "docs/policies.md")
    assert bits(example, operand=Operand.WEIGHT) == 4
    assert bits(example, Layer("attention", frozenset({LayerKind.MATMUL}))) is None
    gradient = example.operand(PLAIN, Operand.GRADIENT, TrainingPass.WEIGHT_GRAD)
    assert gradient is not None
    assert gradient.rounding is Rounding.STOCHASTIC


@pytest.mark.parametrize(
    "word", [*catalog_names(), *LayerKind, *Operand, *TrainingPass, *POINTS, *Rounding, *Sign]
)
def test_every_word_of_a_policy_is_documented(word: str) -> None:
    assert word in DOCS
