"""No byte depends on the number of BLAS threads, the kernels that BLAS chooses for a processor, or numba."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
import pytest

from flexc.array_files import write_npz
from flexc.numerics.acceleration import VARIABLE
from tests.end_to_end.digest_of_run import blas_core
from tests.end_to_end.model_inputs import inputs_of
from tests.end_to_end.model_zoo import REDUCED

ROOT = Path(__file__).parents[2]
KERNELS = {
    "Prescott": "pni",
    "Nehalem": "sse4_2",
    "Sandybridge": "avx",
    "Haswell": "avx2",
    "SkylakeX": "avx512f",
}
"""OpenBLAS kernels, and the processor flag that they need."""


def digest_of_run(model: Path, policy: str, **environment: str) -> dict[str, Any]:
    """What a process says of a run; without numba, so that the contractions are those of BLAS."""
    command = [sys.executable, "-m", "tests.end_to_end.digest_of_run", str(model), policy]
    finished = subprocess.run(
        [*command, str(model.with_name("in.npz"))],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", VARIABLE: "1", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(finished.stdout)
    assert len(found["digests"]) > 50
    return found


@cache
def processor_flags() -> frozenset[str]:
    """Of an x86 processor under Linux; elsewhere none, so that every kernel is skipped."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    flags = [line.partition(":")[2].split() for line in lines if line.startswith("flags")]
    return frozenset(flags[0]) if flags else frozenset()


def written(name: str, folder: Path) -> Path:
    model = REDUCED[name]()
    onnx.save(model, folder / "model.onnx")
    write_npz(folder / "in.npz", inputs_of(model))
    return folder / "model.onnx"


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("transformer", "FB24"),
        pytest.param("resnet18", "FB16", marks=pytest.mark.slow),
        pytest.param("resnet18", "FB24", marks=pytest.mark.slow),
    ],
)
def test_one_thread_or_two(name: str, policy: str, tmp_path: Path) -> None:
    model = written(name, tmp_path)
    one = digest_of_run(model, policy)
    assert digest_of_run(model, policy, OPENBLAS_NUM_THREADS="2")["digests"] == one["digests"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")
@pytest.mark.parametrize("policy", ["FB12", "FB16", "FB24"])
@pytest.mark.parametrize("name", ["mobilenet_v2", "bert"])
def test_with_numba_or_without(name: str, policy: str, tmp_path: Path) -> None:
    model = written(name, tmp_path)
    compiled = digest_of_run(model, policy, **{VARIABLE: "0"})
    assert compiled["digests"] == digest_of_run(model, policy)["digests"]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["FB16A-FB12W", "FB24"])
@pytest.mark.parametrize("name", ["resnet18", "bert"])
def test_the_kernels_of_any_processor(name: str, policy: str, tmp_path: Path) -> None:
    runnable = [kernel for kernel, flag in KERNELS.items() if flag in processor_flags()]
    if blas_core() is None or len(runnable) < 2:
        pytest.skip("NumPy's OpenBLAS has no choice of kernels here")
    model = written(name, tmp_path)
    found = [digest_of_run(model, policy, OPENBLAS_CORETYPE=kernel) for kernel in runnable]
    assert len({run["core"] for run in found}) > 1, "OpenBLAS did not choose as it was told"
    for run in found[1:]:
        assert run["digests"] == found[0]["digests"], run["core"]
