"""Plain tables: columns as wide as their widest cell, numbers to the right."""

from __future__ import annotations

from collections.abc import Sequence

from flexc.diagnostics import printable


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int) -> list[str]:
    """Lines of a table; the last ``numbers`` columns hold numbers. What does not print is escaped."""
    cells = [header, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    first_number = len(header) - numbers
    return [
        "  ".join(
            cell.rjust(width) if column >= first_number else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
