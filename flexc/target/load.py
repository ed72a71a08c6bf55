"""Reading a target file: strict TOML into a :class:`~flexc.target.machine.Target`.

Unknown, missing and repeated keys, wrong types and values out of range are all errors (FX401 to FX404), and
all of a file's are reported together.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from flexc.diagnostics import CompileError, Diagnostic, error
from flexc.target.machine import Target
from flexc.target.records import parse_toml, read_record

CATALOG = Path(__file__).parent / "catalog"


def catalog_names() -> tuple[str, ...]:
    """Names of the targets that come with flexc, sorted."""
    return tuple(sorted(path.stem for path in CATALOG.glob("*.toml")))


@lru_cache(maxsize=64)
def load_target(name_or_path: str) -> Target:
    """The target of that name in the catalog, or in the TOML file of that path.

    Raises :class:`CompileError` for an unknown name, or a file that cannot be read or breaks the rules.
    """
    return parse_target(target_file(name_or_path), str(_path_of(name_or_path)))


def _path_of(name_or_path: str) -> Path:
    return CATALOG / f"{name_or_path}.toml" if name_or_path in catalog_names() else Path(name_or_path)


@lru_cache(maxsize=64)
def target_file(name_or_path: str) -> bytes:
    """The TOML of a target, as it was when it was first read; CompileError FX401 where there is none."""
    path = _path_of(name_or_path)
    if path.suffix != ".toml" or not path.is_file():
        raise error(
            "FX401",
            f"no target '{name_or_path}'",
            hint=f"targets: {', '.join(catalog_names())}, or the path of a .toml file",
        )
    return path.read_bytes()


def parse_target(content: bytes, file: str = "") -> Target:
    """The target that TOML text describes; ``file`` is named in errors. Raises :class:`CompileError`."""
    found: list[Diagnostic] = []
    target = read_record(Target, parse_toml(content, file), "", file, found)
    if found:
        raise CompileError(found)
    assert isinstance(target, Target)
    return target
