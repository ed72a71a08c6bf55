"""Run with the Python of an empty environment that holds the built wheel: checks what it has and has not.

Usage: python check_wheel.py DIST_FOLDER
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path


def main(dist: Path) -> None:
    """Exits with a message at the first thing that is wrong."""
    (wheel,) = dist.glob("flexc-*.whl")
    top_level = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    version = importlib.metadata.version("flexc")
    expected = {"flexc", f"flexc-{version}.dist-info"}
    if top_level != expected:
        sys.exit(f"the wheel holds {sorted(top_level)}, expected {sorted(expected)}")
    wanted = ("flexc.passes.pipelines", "flexc.backends.stream.isa", "flexc.backends.executor", "flexc.cli")
    for name in wanted:
        importlib.import_module(name)
    for name in ("passes", "backends"):
        if importlib.util.find_spec(name) is not None:
            sys.exit(f"{name} is importable at top level")
    script = Path(sys.executable).parent / "flexc"
    for arguments in (["--version"], ["targets"], ["policies"]):
        subprocess.run([script, *arguments], check=True, stdout=subprocess.DEVNULL)
    print(f"wheel check: {wheel.name} is right")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
