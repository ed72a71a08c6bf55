"""Reading a baseline file: strict TOML into a :class:`~flexc.target.baseline.Baseline`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flexc.diagnostics import CompileError, Diagnostic, Place, error
from flexc.target.baseline import (
    ARRAYS,
    NUMBER_FORMATS,
    Baseline,
    ChunkSerial,
    Numerics,
    ReductionTree,
    WeightStationary,
)
from flexc.target.records import parse_toml, read_record
from flexc.target.tables import setting

BASELINES = Path(__file__).parent / "baselines"


@dataclass(frozen=True)
class _Header:
    numerics: Numerics
    name: str = setting("Name of the baseline.")
    description: str = setting("What the array is, and what it follows.")


def baseline_names() -> tuple[str, ...]:
    """Names of the baselines that come with flexc, sorted."""
    return tuple(sorted(path.stem for path in BASELINES.glob("*.toml")))


@lru_cache(maxsize=64)
def load_baseline(name: str) -> Baseline:
    """The baseline of that name; CompileError FX401 where there is none."""
    if name not in baseline_names():
        raise error("FX401", f"no baseline '{name}'", hint=f"baselines: {', '.join(baseline_names())}")
    path = BASELINES / f"{name}.toml"
    return parse_baseline(path.read_bytes(), str(path))


def parse_baseline(content: bytes, file: str = "") -> Baseline:
    """The baseline that TOML text describes. Raises CompileError FX402 to FX404, all problems together."""
    table = parse_toml(content, file)
    found: list[Diagnostic] = []
    named = [key for key in ARRAYS if key in table]
    if len(named) != 1:
        problem = f"{len(named)} arrays, where one is needed"
        found.append(Diagnostic("FX403", problem, Place(file), hint=f"one table of {', '.join(ARRAYS)}"))
    header = read_record(
        _Header, {key: value for key, value in table.items() if key not in ARRAYS}, "", file, found
    )
    arrays = [read_record(ARRAYS[key], _table(table[key]), f"{key}.", file, found) for key in named]
    if isinstance(header, _Header) and header.numerics.format not in NUMBER_FORMATS:
        problem = f"'numerics.format' is '{header.numerics.format}'"
        found.append(Diagnostic("FX404", problem, Place(file), hint=f"one of {', '.join(NUMBER_FORMATS)}"))
    if found:
        raise CompileError(found)
    assert isinstance(header, _Header)
    (array,) = arrays
    assert isinstance(array, WeightStationary | ReductionTree | ChunkSerial)
    return Baseline(header.name, header.description, header.numerics, array)


def _table(found: object) -> dict[str, object]:
    return found if isinstance(found, dict) else {}
