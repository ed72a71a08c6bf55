"""Where a sweep's results are kept while it runs: one file a point, named by the point's key.

A file is written whole or not at all, so that a sweep can be killed at any moment and continued; what was
done is not done again, by whichever process.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from flexc.analysis.sweeping.point import Point
from flexc.output_file import write_file


@dataclass(frozen=True)
class Cost:
    """What a point costs, by the closed form; every figure rests on the target's assumed values."""

    cycles: int
    milliseconds: float
    energy_uj: float
    dram_bytes: int
    macs: int
    datapath_um2: float
    """Area of multipliers, adders, accumulators and registers."""


@dataclass(frozen=True)
class Result:
    """A point's cost, or the code and the text of the error that it ended with."""

    point: Point
    cost: Cost | None
    error_code: str = ""
    error: str = ""
    seconds: float = 0.0
    """Wall-clock time of the evaluation."""


@dataclass(frozen=True)
class Store:
    """A folder of results."""

    folder: Path

    def path(self, key: str) -> Path:
        """The file of the result with that key."""
        return self.folder / f"{key}.json"

    def get(self, key: str) -> Result | None:
        """The result, or None where there is none yet, or only a damaged file."""
        try:
            content = json.loads(self.path(key).read_text(encoding="utf-8"))
            cost = content.pop("cost")
            return Result(
                **{**content, "point": Point(**content["point"])}, cost=None if cost is None else Cost(**cost)
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: str, result: Result) -> None:
        """Keeps the result; CompileError FX506 where the disk refuses."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(result), indent=1)
        write_file(self.path(key), lambda path: path.write_text(text, encoding="utf-8"))


POINT_COLUMNS = tuple(field.name for field in fields(Point))
COST_COLUMNS = tuple(field.name for field in fields(Cost))
COLUMNS = (*POINT_COLUMNS, *COST_COLUMNS, "error_code", "error", "seconds", "key")


def row(key: str, result: Result) -> dict[str, object]:
    """The result as a row of the table: ``COLUMNS``, costs None where the point failed."""
    costs = dict.fromkeys(COST_COLUMNS) if result.cost is None else asdict(result.cost)
    return {
        **asdict(result.point),
        **costs,
        "error_code": result.error_code,
        "error": result.error,
        "seconds": result.seconds,
        "key": key,
    }
