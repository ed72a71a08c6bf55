"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from flexc.diagnostics import Place, error


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Has ``write`` make a file beside ``path``, and puts it in its place by renaming.

    A device or a pipe is written to as it is. Raises CompileError FX506 where the disk refuses.
    """
    try:
        if path.exists() and not path.is_file():
            write(path)
            return
        place = path.resolve()
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as folder:
            new = Path(folder) / place.name
            write(new)
            os.replace(new, place)
    except OSError as cause:
        raise error("FX506", f"cannot write: {cause.strerror or cause}", place=Place(str(path))) from cause
