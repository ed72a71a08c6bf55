"""Compiles and runs a model in this process, and prints a digest of every byte that comes of it.

    python -m tests.end_to_end.digest_of_run MODEL POLICY INPUTS.npz

Prints a line of JSON: ``core`` is the processor that OpenBLAS works for (None without OpenBLAS), ``digests``
are those of the artefact's files and of all arrays of both engines.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import flexc
from flexc.array_files import read_npz


def blas_core() -> str | None:
    """The kernels that NumPy's own OpenBLAS chose; None where NumPy has another BLAS."""
    folder = Path(np.__file__).parents[1] / "numpy.libs"
    for library in folder.glob("libscipy_openblas64_*"):
        name = ctypes.CDLL(str(library)).scipy_openblas_get_corename64_
        name.restype = ctypes.c_char_p
        return str(name().decode())
    return None


def digests(model: Path, policy: str, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, str]:
    """sha256 by file of the artefact and by array."""
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        program = flexc.compile(model, policy=policy, output=Path(folder) / "compiled")
        for file in sorted((Path(folder) / "compiled").iterdir()):
            if file.name != "manifest.json":  # holds the way from here to the model
                found[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
        for engine in ("executor", "stream"):
            run = program.run_engine(inputs, "executor" if engine == "executor" else "stream", tensors=True)
            for name, array in {**run.tensors, **run.outputs}.items():
                found[f"{engine} {name}"] = hashlib.sha256(array.tobytes()).hexdigest()
    return found


if __name__ == "__main__":
    found = digests(Path(sys.argv[1]), sys.argv[2], read_npz(Path(sys.argv[3])))
    print(json.dumps({"core": blas_core(), "digests": found}))
