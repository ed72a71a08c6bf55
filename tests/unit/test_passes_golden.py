"""Passes on a few lines of IR: text in, text out (tests/golden/passes/*.cases).

A case reads

    [case name]                     a sentence may follow
    [pipeline insert-quantize]      the pass that the file is named after, if this line is missing
    [weights]                       optional: key: dtype[shape] = values
    [in]                            IR
    [out]                           the IR that comes out, or the error, and the weights that are left
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.printer import Printer

from flexc.diagnostics import CompileError
from flexc.ir.program import Graph, parse_module
from flexc.ir.weight_store import WeightStore
from flexc.passes.manager import run_pipeline
from flexc.passes.pipeline_text import parse_pipeline

ROOT = Path(__file__).parents[1] / "golden" / "passes"
DTYPES = {"f32": np.float32, "i64": np.int64, "i1": np.bool_}
SECTION = re.compile(r"^\[(case|pipeline|weights|in|out)(?: ([^\]]*))?\](.*)$")


@dataclass(frozen=True)
class Case:
    """One case of a file; ``note`` is the rest of its first line."""

    file: str
    name: str
    note: str
    pipeline: str | None
    weights: str
    given: str
    expected: str

    def text(self) -> str:
        """The case as its file holds it."""
        pipeline = [] if self.pipeline is None else [f"[pipeline {self.pipeline}]"]
        weights = ["[weights]", self.weights] if self.weights else []
        head = f"[case {self.name}]{self.note}"
        return "\n".join((head, *pipeline, *weights, "[in]", self.given, "[out]", self.expected)) + "\n"


def read_cases(path: Path) -> list[Case]:
    cases: list[Case] = []
    parts: dict[str, str] = {}
    lines: list[str] = []
    for line in [*path.read_text(encoding="utf-8").splitlines(), "[case end]"]:
        found = SECTION.match(line)
        if found is None:
            lines.append(line)
            continue
        if "section" in parts:
            parts[parts["section"]] = "\n".join(lines).strip("\n")
        lines = []
        if found[1] == "case":
            if "name" in parts:
                cases.append(
                    Case(
                        path.name,
                        parts["name"],
                        parts["note"],
                        parts.get("pipeline"),
                        parts.get("weights", ""),
                        parts["in"],
                        parts.get("out", ""),
                    )
                )
            parts = {"name": found[2], "note": found[3]}
        elif found[1] == "pipeline":
            parts["pipeline"] = found[2]
        else:
            parts["section"] = found[1]
    return cases


CASES = [case for path in sorted(ROOT.glob("*.cases")) for case in read_cases(path)]


def read_weights(text: str) -> WeightStore:
    """``key: f32[2,1,1] = 1 2``; a single value fills the shape."""
    store = WeightStore()
    for line in filter(None, text.splitlines()):
        found = re.match(r"(\S+): (\w+)\[([\d,]*)\] = (.*)$", line)
        assert found is not None, line
        shape = tuple(int(extent) for extent in found[3].split(",") if extent)
        values = np.array(found[4].split(), dtype=np.float64).astype(DTYPES[found[2]])
        store.add(found[1], np.full(shape, values[0]) if values.size == 1 else values.reshape(shape))
    return store


def describe(array: NDArray[Any]) -> str:
    values = " ".join(str(value) for value in array.reshape(-1).tolist()[:16])
    return f"{array.dtype}{list(array.shape)} = {values}" + (" ..." if array.size > 16 else "")


def weights_left(graph: Graph) -> str:
    lines = [f"{key}: {describe(graph.weights.get(key))}" for key in graph.weights]
    for op in graph.main.body.block.ops:
        if op.name == "bfp.constant":
            key = op.attributes["key"].data  # type: ignore[attr-defined]
            if key in graph.weights:
                block = graph.weights.block(key, op.results[0].type)  # type: ignore[arg-type]
                lines += [f"{key}.mantissa: {describe(block.mantissa)}"]
                lines += [f"{key}.exponent: {describe(block.exponent)}"]
    return "\n".join(["", "weights:", *sorted(lines)])


def run_case(case: Case) -> str:
    graph = Graph(parse_module(case.given, case.file), read_weights(case.weights), "model.onnx")
    pipeline = parse_pipeline(case.pipeline or case.file.removesuffix(".cases"))
    try:
        run_pipeline(graph, pipeline, verify_each=True)
    except CompileError as problem:
        return str(problem)
    function = re.sub(r"^  ", "", "\n".join(str(graph.module).splitlines()[1:-1]), flags=re.MULTILINE)
    return function + (weights_left(graph) if case.weights else "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file.removesuffix('.cases')}-{case.name}")
def test_golden(case: Case, request: pytest.FixtureRequest) -> None:
    found = run_case(case)
    if request.config.getoption("--update-golden"):
        path = ROOT / case.file
        updated = [replace(one, expected=found) if one.name == case.name else one for one in read_cases(path)]
        path.write_text("\n".join(one.text() for one in updated), encoding="utf-8")
        return
    assert found == case.expected


def generic(module: ModuleOp) -> str:
    stream = StringIO()
    Printer(stream, print_generic_format=True).print_op(module)
    return stream.getvalue()


RESULTS = {
    f"{case.file.removesuffix('.cases')}-{case.name}": case.expected.partition("\nweights:")[0]
    for case in CASES
    if not case.expected.startswith("error[")
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_parse_back_in_both_forms(name: str) -> None:
    module = parse_module(RESULTS[name])
    custom = str(module)
    assert str(parse_module(custom)) == custom
    assert str(parse_module(generic(module))) == custom


@pytest.mark.parametrize("dialect", ["nn", "bfp", "lightnorm"])
def test_generic_form_has_no_custom_assembly(dialect: str) -> None:
    name = next(name for name, text in RESULTS.items() if f" = {dialect}." in text)
    printed = generic(parse_module(RESULTS[name]))
    assert re.search(rf'= "{dialect}\.\w+"\(', printed)
    assert f" = {dialect}." not in printed


def test_case_names_are_unique() -> None:
    names = [(case.file, case.name) for case in CASES]
    assert len(set(names)) == len(names)
