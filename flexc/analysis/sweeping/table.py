"""The table of a sweep: Parquet or CSV, by the name of the file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from flexc.analysis.sweeping.store import COLUMNS
from flexc.diagnostics import error
from flexc.output_file import write_file

Rows = Sequence[Mapping[str, object]]


def check_table(path: Path) -> None:
    """Raises CompileError before any work is done: FX587 for another suffix, FX588 without pyarrow."""
    if path.suffix not in (".csv", ".parquet"):
        raise error("FX587", f"'{path}' is neither a .csv nor a .parquet file")
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as cause:
            raise error(
                "FX588", "Parquet needs the package pyarrow", hint="pip install 'flexc[sweep]', or write .csv"
            ) from cause


def write_table(path: Path, rows: Rows) -> None:
    """Writes ``COLUMNS`` of all rows, whole or not at all."""
    write_file(path, lambda file: _write(file, path.suffix, rows))


def _write(file: Path, suffix: str, rows: Rows) -> None:
    if suffix == ".csv":
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        return
    # Imported here: CSV needs no pyarrow.
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), file)
