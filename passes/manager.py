"""Running passes in order: what is checked, printed and timed around each of them."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from xdsl.utils.exceptions import VerifyException

from flexc.ir.program import Graph
from flexc.passes.base import Pass
from flexc.passes.reproducer import CrashReproducer

ALL_PASSES = "all"


@dataclass(frozen=True)
class PassRun:
    """One pass as it went: whether it changed the IR, its time, and the ops that it left in ``@main``."""

    pass_text: str
    changed: bool
    seconds: float
    op_count: int


class PassClaimError(Exception):
    """A pass reported a change and made none, or the other way round; seen with ``verify_each`` only."""


def run_pipeline(
    graph: Graph,
    passes: Sequence[Pass],
    *,
    verify_each: bool = False,
    print_ir_after: Collection[str] = (),
    dump_dir: Path | None = None,
    reproducer_dir: Path | None = None,
    timing: bool = False,
    progress: Callable[[str], None] = lambda name: None,
) -> tuple[PassRun, ...]:
    """Runs ``passes`` on ``graph``, in place, and tells how each went.

    verify_each: verify the IR before the first pass and after each, and the passes' claims of change.
    print_ir_after: names of passes after which the IR goes to stderr, or "all".
    dump_dir: takes one numbered file a pass, ``00-input.mlir``, ``01-canonicalize.mlir``...
    reproducer_dir: takes ``reproducer.mlir`` if a pass crashes.
    timing: a table of the runs on stderr at the end.
    progress: is told the name of each pass before it runs.

    Raises what the passes raise: CompileError for the user's mistakes, anything else for bugs;
    VerifyException and :class:`PassClaimError` with ``verify_each``.
    """
    if verify_each:
        graph.module.verify()
    _dump(graph, dump_dir, 0, "input")
    runs: list[PassRun] = []
    for number, one in enumerate(passes):
        before = str(graph.module) if verify_each else ""
        progress(one.name)
        start = time.perf_counter()
        with _guard(graph, passes[number:], reproducer_dir):
            changed = one.run(graph)
            seconds = time.perf_counter() - start
            if verify_each:
                _check(graph, one, changed, before)
        runs.append(PassRun(str(one), changed, seconds, len(graph.main.body.block.ops)))
        if ALL_PASSES in print_ir_after or one.name in print_ir_after:
            print(f"// IR after {one}\n{graph.module!s}\n", file=sys.stderr)
        _dump(graph, dump_dir, number + 1, one.name)
    if timing:
        # Imported here: rich takes longer to load than most passes to run.
        from flexc.passes.timing_table import print_timing

        print_timing(runs)
    return tuple(runs)


def _guard(graph: Graph, rest: Sequence[Pass], directory: Path | None) -> AbstractContextManager[None]:
    return contextlib.nullcontext() if directory is None else CrashReproducer(graph, rest, directory)


def _check(graph: Graph, one: Pass, changed: bool, before: str) -> None:
    try:
        graph.module.verify()
    except VerifyException as broken:
        broken.add_note(f"the IR does not verify after pass '{one}'")
        raise
    if changed != (str(graph.module) != before):
        claim = "a change and made none" if changed else "no change and made one"
        raise PassClaimError(f"pass '{one}' reported {claim}")


def _dump(graph: Graph, directory: Path | None, number: int, name: str) -> None:
    if directory is None:
        return
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{number:02}-{name}.mlir").write_text(f"{graph.module!s}\n", encoding="utf-8")
