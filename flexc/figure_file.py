"""Figures for papers, by matplotlib: a file's type is its suffix, and equal figures give equal bytes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flexc.diagnostics import Place, error
from flexc.output_file import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNDATED: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
"""What matplotlib is not to write into a file of each type, so that its bytes are the figure's alone."""
STYLE: dict[Literal["svg", "pdf", "font", "legend", "axes", "savefig"], dict[str, object]] = {
    "svg": {"hashsalt": "flexc", "fonttype": "none"},
    "pdf": {"fonttype": 42},
    "font": {"size": 9.0},
    "legend": {"fontsize": 8.0},
    "axes": {"axisbelow": True},
    "savefig": {"dpi": 150},
}
"""Texts stay texts in SVG and PDF; ids are the same each time."""


def check_figure(path: Path) -> None:
    """Raises CompileError before any work is done: FX556 for another suffix, FX555 without matplotlib."""
    if path.suffix.lower() not in UNDATED:
        raise error(
            "FX556",
            f"a figure has one of the suffixes {', '.join(UNDATED)}",
            place=Place(str(path)),
        )
    if importlib.util.find_spec("matplotlib") is None:
        raise error("FX555", "plots need matplotlib, which is missing", hint="pip install 'flexc[plot]'")


def write_figure(path: Path, size_inches: tuple[float, float], draw: Callable[[Figure], None]) -> None:
    """Has ``draw`` fill an empty figure, and writes it to ``path``, whole or not at all.

    The style is matplotlib's default, whatever the user's settings are. Raises CompileError: those of
    :func:`check_figure`, and FX506 where the disk refuses.
    """
    check_figure(path)
    # Imported here: without matplotlib the commands say what is missing, and help does not wait for it.
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for group, settings in STYLE.items():
            matplotlib.rc(group, **settings)
        figure = Figure(size_inches, layout="constrained")
        draw(figure)
        kind = path.suffix.lower()
        write_file(path, lambda new: figure.savefig(new, format=kind[1:], metadata=UNDATED[kind]))


def count_epochs(axes: Axes, epochs: int) -> None:
    """Makes the horizontal axis one of epochs, whole numbers from 1."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, epochs + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def legend_below(figure: Figure, panels: Iterable[Axes]) -> None:
    """One legend for all panels, each label once."""
    found = (zip(*panel.get_legend_handles_labels(), strict=True) for panel in panels)
    entries = {label: handle for pairs in found for handle, label in pairs}
    if entries:
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=3, frameon=False)


def literal(text: str, most: int = 200) -> str:
    """A name as matplotlib shows it letter by letter, without its middle where it has ``most`` or more.

    What no file can show becomes a replacement mark.
    """
    if len(text) >= most:
        text = f"{text[: most // 2]}\N{HORIZONTAL ELLIPSIS}{text[1 - most // 2 :]}"
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return shown.replace("$", r"\$")
