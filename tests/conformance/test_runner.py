"""The runner must see what is wrong: with results, with errors, and with the files themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from flexc.cli.conformance import conformance
from flexc.numerics.conformance import run_file, run_folder

MINIFLOAT = {"spec": 1, "op": "minifloat", "exponent_bits": 5, "fraction_bits": 4, "rounding": "nearest"}
X = np.array([1.0, 1.03125, -3.0], np.float32)
Y = np.array([1.0, 1.0, -3.0], np.float32)


def failure_of(folder: Path, spec: object, **arrays: NDArray[Any]) -> str:
    file = folder / "vector.npz"
    np.savez(file, allow_pickle=False, spec=np.array(json.dumps(spec)), **arrays)
    return run_file(file).failure


def test_match(tmp_path: Path) -> None:
    assert failure_of(tmp_path, MINIFLOAT, x=X, expect_y=Y) == ""


def test_difference_names_index_and_both_bit_patterns(tmp_path: Path) -> None:
    wrong = np.array([1.0, 1.0, -2.0], np.float32)
    failure = failure_of(tmp_path, MINIFLOAT, x=X, expect_y=wrong)
    assert "expect_y: 1 of 3 elements differ, the first at [2]" in failure
    assert "0xc0400000" in failure
    assert "0xc0000000" in failure


def test_signs_of_zero_differ(tmp_path: Path) -> None:
    zero = np.zeros(1, np.float32)
    assert failure_of(tmp_path, MINIFLOAT, x=zero, expect_y=zero) == ""
    assert "0x80000000" in failure_of(tmp_path, MINIFLOAT, x=zero, expect_y=-zero)


@pytest.mark.parametrize("expected", [Y.astype(np.float64), Y.reshape(3, 1)], ids=["dtype", "shape"])
def test_types_and_shapes_differ(tmp_path: Path, expected: NDArray[Any]) -> None:
    assert "not float" in failure_of(tmp_path, MINIFLOAT, x=X, expect_y=expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec": 2}, "specification 2"),
        ({"op": "softplus"}, "unknown op 'softplus'"),
        ({"color": 1}, "unknown attribute color"),
        ({"exponent_bits": 99}, "raised ValueError"),
        ({"expect_error": "non-finite"}, "expect_error 'non-finite' beside ['expect_y']"),
    ],
)
def test_what_the_specification_does_not_know_fails(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    assert message in failure_of(tmp_path, MINIFLOAT | change, x=X, expect_y=Y)


def test_missing_attribute_fails(tmp_path: Path) -> None:
    spec = {name: value for name, value in MINIFLOAT.items() if name != "rounding"}
    assert "missing attribute rounding" in failure_of(tmp_path, spec, x=X, expect_y=Y)


def test_unknown_arrays_fail(tmp_path: Path) -> None:
    assert "unknown array z" in failure_of(tmp_path, MINIFLOAT, x=X, z=X, expect_y=Y)
    assert "has no expect_z" in failure_of(tmp_path, MINIFLOAT, x=X, expect_z=Y)
    assert "nothing is expected" in failure_of(tmp_path, MINIFLOAT, x=X)


def test_expected_errors(tmp_path: Path) -> None:
    spec = MINIFLOAT | {"expect_error": "non-finite"}
    assert failure_of(tmp_path, spec, x=np.array([np.nan], np.float32)) == ""
    assert "no error; one with the word" in failure_of(tmp_path, spec, x=X)
    other = MINIFLOAT | {"expect_error": "overflow"}
    assert "raised NonFiniteError" in failure_of(tmp_path, other, x=np.array([np.inf], np.float32))


def test_damaged_files_fail(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 nothing")
    np.savez(tmp_path / "b.npz", allow_pickle=False, x=X)
    np.savez(tmp_path / "c.npz", allow_pickle=False, spec=np.array("{"))
    np.savez(tmp_path / "d.npz", allow_pickle=False, spec=np.array("[]"))
    failures = [outcome.failure for outcome in run_folder(tmp_path)]
    assert [failure.split(":")[0] for failure in failures] == [
        "not a vector file",
        "no array named 'spec'",
        "not a vector file",
        "spec is not a JSON object",
    ]


def test_command(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert run(conformance, [str(tmp_path)]).exit_code == 1, "no vector is not success"
    assert failure_of(tmp_path, MINIFLOAT, x=X, expect_y=Y) == ""
    good = run(conformance, [str(tmp_path)])
    assert (good.exit_code, good.stdout) == (0, "1 of 1 vectors match\n")

    assert failure_of(tmp_path, MINIFLOAT, x=X, expect_y=X)
    bad = run(conformance, [str(tmp_path)])
    assert bad.exit_code == 1
    assert bad.stdout.startswith("FAIL vector.npz (minifloat): expect_y: 1 of 3 elements differ")
    as_json = json.loads(run(conformance, [str(tmp_path), "--json"]).stdout)
    assert (as_json["matched"], as_json["failed"]) == (0, 1)
