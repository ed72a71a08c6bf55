"""Running the functional simulator in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from flexc.array_files import read_npz, write_npz
from flexc.backends.stream.fault import StreamFault

Arrays = dict[str, NDArray[Any]]


def simulate_file(
    stream_path: Path, inputs: Mapping[str, NDArray[Any]], *, tensors: bool = False
) -> tuple[Arrays, Arrays]:
    """(outputs, intermediates) of a stream file; without ``tensors`` there are no intermediates.

    Raises StreamFault with what the simulator said when it did not finish.
    """
    with tempfile.TemporaryDirectory(prefix="flexc-stream-") as name:
        folder = Path(name)
        write_npz(folder / "inputs.npz", inputs)
        command = [sys.executable, "-m", "flexc.backends.stream.simulate", os.fspath(stream_path)]
        command += [str(folder / "inputs.npz"), str(folder / "outputs.npz")]
        command += ["--tensors", str(folder / "tensors.npz")] if tensors else []
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        if finished.returncode != 0:
            raise StreamFault(finished.stderr.strip() or f"the simulator ended with {finished.returncode}")
        return read_npz(folder / "outputs.npz"), read_npz(folder / "tensors.npz") if tensors else {}
