"""A crash of a pass as a file: the IR before it and the pipeline from it on, without weights.

``flexc opt reproducer.mlir --run-reproducer`` runs that pipeline again.
"""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

from flexc import __version__
from flexc.diagnostics import CompileError, error
from flexc.ir.program import Graph
from flexc.passes.base import Pass
from flexc.passes.pipeline_text import parse_pipeline, pipeline_text
from flexc.passes.snapshot import Snapshot

FILE_NAME = "reproducer.mlir"
_PIPELINE = "// pipeline: "


class CrashReproducer:
    """A context around one pass: an exception that is no CompileError leaves ``reproducer.mlir`` behind.

    The exception goes on its way, with a note that names the file, the pass and the command that replays it.
    """

    def __init__(self, graph: Graph, passes: Sequence[Pass], directory: Path) -> None:
        """``passes`` is the rest of the pipeline, the guarded pass first."""
        self._before = Snapshot.of(graph.module)
        self._passes = passes
        self._directory = directory

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(raised, Exception) or isinstance(raised, CompileError):
            return
        text = reproducer_text(self._before, self._passes, raised)
        path = self._directory / FILE_NAME
        failed = f"pass '{self._passes[0].name}' failed"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as cause:
            # Not being able to write must not hide the bug.
            raised.add_note(f"{failed}; {path} cannot be written: {cause.strerror}")
            return
        command = shlex.join(["flexc", "opt", str(path), "--run-reproducer"])
        raised.add_note(f"{failed}; the IR before it is in {path}; to run it again: {command}")


def reproducer_text(before: Snapshot, passes: Sequence[Pass], raised: Exception) -> str:
    """The file's content: comments with versions, exception and pipeline, then the IR."""
    versions = ", ".join(f"{package} {version(package)}" for package in ("xdsl", "numpy"))
    summary = " ".join(f"{type(raised).__name__}: {raised}".split())
    return "\n".join(
        (
            f"// flexc {__version__}, {versions}, python {platform.python_version()}",
            f"// {summary[:400]}",
            f"{_PIPELINE}{pipeline_text(passes)}",
            str(before.rebuild()),
            "",
        )
    )


def reproducer_pipeline(text: str, file: str) -> tuple[Pass, ...]:
    """The pipeline that a reproducer names; CompileError FX305 if ``text`` is none."""
    for line in text.splitlines():
        if line.startswith(_PIPELINE):
            return parse_pipeline(line.removeprefix(_PIPELINE))
        if not line.startswith("//"):
            break
    raise error(
        "FX305",
        f"{file} is not a reproducer: no comment at its top begins with '{_PIPELINE.strip()}'",
        hint="give the pipeline with --pass-pipeline",
    )
