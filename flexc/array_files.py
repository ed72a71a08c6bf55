"""Reading arrays that a user gives and writing arrays a user wants, a whole file or none."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexc.diagnostics import Place, error
from flexc.output_file import write_file

Array = npt.NDArray[Any]


def read_npz(path: Path) -> dict[str, Array]:
    """The arrays of an npz file; CompileError FX505 where it cannot be read."""
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array without a name")
        with archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as cause:
        raise error(
            "FX505",
            f"the file cannot be read as npz: {cause}",
            place=Place(str(path)),
            hint="write it with numpy.savez(path, name=array, ...)",
        ) from cause


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes an npz file in place of ``path``, by renaming; CompileError FX506 where the disk refuses.

    Any name will do, those of the parameters of ``numpy.savez`` too.
    """

    def write(new: Path) -> None:
        with zipfile.ZipFile(new, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)

    write_file(path, write)


def write_npy(folder: Path, arrays: Mapping[str, Array]) -> None:
    """Writes ``folder/name.npy`` for each array, or for none: CompileError FX506 where the disk refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new.", dir=folder) as new:
            for name, array in arrays.items():
                np.save(Path(new) / f"{name}.npy", array)
            for path in Path(new).iterdir():
                os.replace(path, folder / path.name)
    except OSError as cause:
        raise error("FX506", f"cannot write: {cause.strerror or cause}", place=Place(str(folder))) from cause
