"""The peak of resident memory of loading a model and running it once: a process's whole life.

    python -m benchmarks.peak_memory onnxruntime|executor PATH X.npy

Imports only what the run needs, and prints bytes. VmHWM, not ru_maxrss: the latter would start from the
memory of the process that started this one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Run = Callable[[npt.NDArray[np.float32]], Any]


def session_of(model: Path) -> Run:
    """The ONNX file on onnxruntime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})


def program_of(folder: Path) -> Run:
    """The artefact in ``folder`` on the executor."""
    import flexc

    program = flexc.load(folder)
    name = program.inputs[0].name
    return lambda x: program.run({name: x})


LOADERS: dict[str, Callable[[Path], Run]] = {"onnxruntime": session_of, "executor": program_of}


def peak_bytes(kind: str, path: Path, x_path: Path) -> int:
    """The peak of a new process; ``kind`` is a key of ``LOADERS``."""
    command = [sys.executable, "-m", "benchmarks.peak_memory", kind, str(path), str(x_path)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def own_peak_bytes() -> int:
    """The most memory that this process had resident so far (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


if __name__ == "__main__":
    LOADERS[sys.argv[1]](Path(sys.argv[2]))(np.load(sys.argv[3]))
    print(own_peak_bytes())
