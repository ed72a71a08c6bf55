"""What is checked, printed, dumped and timed around passes, and what a crash leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from xdsl.dialects.builtin import StringAttr
from xdsl.utils.exceptions import VerifyException

from flexc.diagnostics import CompileError, error
from flexc.ir import nn
from flexc.ir.attributes import real
from flexc.ir.program import Graph, parse_module
from flexc.passes.base import Pass
from flexc.passes.canonicalize import Canonicalize
from flexc.passes.manager import PassClaimError, run_pipeline
from flexc.passes.pipeline_text import parse_pipeline, pipeline_text
from flexc.passes.reproducer import reproducer_pipeline
from flexc.passes.snapshot import Snapshot

TEXT = """
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> attributes {inputs = ["x"]} {
  %a = nn.relu %x {source = #nn.source<"r1", "Relu", 0>} : tensor<4xf32> -> tensor<4xf32>
  %b = nn.leaky_relu %a {alpha = 0.25 : f32} : tensor<4xf32> -> tensor<4xf32>
  %0 = nn.relu %b : tensor<4xf32> -> tensor<4xf32>
  func.return %0 : tensor<4xf32>
}
"""


def graph() -> Graph:
    return Graph(parse_module(TEXT))


def ops(of: Graph) -> list[nn.UnaryOp]:
    return [op for op in of.main.body.block.ops if isinstance(op, nn.UnaryOp)]


@dataclass(frozen=True)
class Scripted(Pass):
    """Does what a test wants."""

    name: ClassVar[str] = "canonicalize"
    action: Callable[[Graph], None] = field(default=lambda graph: None, compare=False)
    claim: bool = False

    def run(self, graph: Graph) -> bool:
        self.action(graph)
        return self.claim

    def __str__(self) -> str:
        return self.name


def set_alpha(of: Graph) -> None:
    ops(of)[1].attributes["alpha"] = real(0.5)


def break_ir(of: Graph) -> None:
    ops(of)[1].attributes["alpha"] = StringAttr("a quarter")


def half_done_crash(of: Graph) -> None:
    first, second, third = ops(of)
    second.attributes["alpha"] = real(0.75)
    third.operands[0] = first.out
    second.out.name_hint = "renamed"
    of.main.body.block.erase_op(second)
    raise RuntimeError("a bug\nover two lines")


def refuse(of: Graph) -> None:
    raise error("FX999", "the user's mistake")


def test_runs_say_what_passes_did() -> None:
    first, second = run_pipeline(
        graph(), parse_pipeline("insert-quantize{policy=FB12},cse"), verify_each=True
    )
    assert (first.pass_text, first.changed, first.op_count) == ("insert-quantize{policy=FB12}", False, 4)
    assert first.seconds > 0
    assert second.pass_text == "cse"


@pytest.mark.parametrize(
    ("action", "claim", "message"),
    [(set_alpha, False, "reported no change and made one"), (ops, True, "reported a change and made none")],
)
def test_false_claims_are_caught(action: Callable[[Graph], None], claim: bool, message: str) -> None:
    with pytest.raises(PassClaimError, match=message):
        run_pipeline(graph(), [Scripted(action, claim)], verify_each=True)
    run_pipeline(graph(), [Scripted(action, claim)])


def test_broken_ir_is_caught_and_the_pass_named() -> None:
    with pytest.raises(VerifyException) as caught:
        run_pipeline(graph(), [Scripted(break_ir, True)], verify_each=True)
    assert any("after pass 'canonicalize" in note for note in caught.value.__notes__)


def test_ir_is_printed_after_the_passes_named(capsys: pytest.CaptureFixture[str]) -> None:
    passes = parse_pipeline("cse,fuse-lightnorm,canonicalize")
    run_pipeline(graph(), passes, print_ir_after=["cse"])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("// IR after cse\nbuiltin.module {")
    assert printed.err.count("// IR after") == 1
    run_pipeline(graph(), passes, print_ir_after=["all"])
    assert capsys.readouterr().err.count("// IR after") == 3


def test_dumps_are_numbered_and_parse_back(tmp_path: Path) -> None:
    of = graph()
    run_pipeline(of, parse_pipeline("canonicalize,cse"), dump_dir=tmp_path / "dump")
    names = sorted(path.name for path in (tmp_path / "dump").iterdir())
    assert names == ["00-input.mlir", "01-canonicalize.mlir", "02-cse.mlir"]
    text = (tmp_path / "dump" / "02-cse.mlir").read_text()
    assert str(parse_module(text)) == str(of.module)


def test_timing_is_a_table_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    run_pipeline(graph(), parse_pipeline("canonicalize,cse"), timing=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    for part in ("canonicalize", "cse", "total", "ms"):
        assert part in printed.err


def test_crash_leaves_the_ir_before_the_pass(tmp_path: Path) -> None:
    of = graph()
    before = str(of.module)
    passes = [
        *parse_pipeline("cse"),
        Scripted(half_done_crash),
        *parse_pipeline("insert-quantize{policy=FB12}"),
    ]
    with pytest.raises(RuntimeError) as caught:
        run_pipeline(of, passes, reproducer_dir=tmp_path)
    path = tmp_path / "reproducer.mlir"
    assert any(f"flexc opt {path} --run-reproducer" in note for note in caught.value.__notes__)
    text = path.read_text()
    assert str(parse_module(text)) == before
    header = text.splitlines()[:3]
    assert header[0].startswith("// flexc ")
    assert "xdsl" in header[0]
    assert header[1] == "// RuntimeError: a bug over two lines"
    assert pipeline_text(reproducer_pipeline(text, "reproducer.mlir")) == (
        "canonicalize,insert-quantize{policy=FB12}"
    )


def test_a_user_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CompileError):
        run_pipeline(graph(), [Scripted(refuse)], reproducer_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_broken_ir_leaves_a_reproducer(tmp_path: Path) -> None:
    with pytest.raises(VerifyException):
        run_pipeline(graph(), [Scripted(break_ir, True)], verify_each=True, reproducer_dir=tmp_path)
    assert "alpha = 2.500000e-01" in (tmp_path / "reproducer.mlir").read_text()


def test_a_file_without_pipeline_is_no_reproducer() -> None:
    with pytest.raises(CompileError, match="FX305"):
        reproducer_pipeline("builtin.module {}\n// pipeline: cse\n", "x.mlir")


def test_snapshot_outlives_changes() -> None:
    of = graph()
    before = str(of.module)
    snapshot = Snapshot.of(of.module)
    Canonicalize().run(of)
    set_alpha(of)
    assert str(of.module) != before
    assert str(snapshot.rebuild()) == before
    assert str(snapshot.rebuild()) == before
