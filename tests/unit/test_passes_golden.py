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
import zlib
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue
from xdsl.printer import Printer

from flexc import numerics
from flexc.diagnostics import CompileError
from flexc.ir import bfp, nn
from flexc.ir.kernel_calls import kernel_call
from flexc.ir.program import Graph, parse_module
from flexc.ir.weight_store import WeightStore
from flexc.passes.building import shape_of
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
        values: NDArray[Any] = np.array(found[4].split(), dtype=np.float64).astype(DTYPES[found[2]])
        store.add(found[1], np.full(shape, values[0]) if values.size == 1 else values.reshape(shape))
    return store


def describe(array: NDArray[Any]) -> str:
    values = " ".join(str(value) for value in array.reshape(-1).tolist()[:16])
    return f"{array.dtype}{list(array.shape)} = {values}" + (" ..." if array.size > 16 else "")


def weights_left(graph: Graph) -> str:
    lines = [f"{key}: {describe(graph.weights.get(key))}" for key in graph.weights]
    for op in graph.main.body.block.ops:
        if isinstance(op, bfp.ConstantOp) and op.key.data in graph.weights:
            assert isinstance(op.out.type, bfp.BlockTensorType)
            block = graph.weights.block(op.key.data, op.out.type)
            lines.append(f"{op.key.data}.mantissa: {describe(block.mantissa)}")
            lines.append(f"{op.key.data}.exponent: {describe(block.exponent)}")
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


def evaluate(graph: Graph, inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """The function's results by the kernels; constants without a value get one that depends on their key."""
    values: dict[SSAValue, NDArray[Any]] = dict(zip(graph.main.body.block.args, inputs, strict=True))
    for op in graph.main.body.block.ops:
        if isinstance(op, ReturnOp):
            return [values[operand] for operand in op.operands]
        (result,) = op.results
        if isinstance(op, nn.ConstantOp):
            values[result] = constant_value(graph, op)
            continue
        call = kernel_call(op)
        operands = [None if operand is None else values[operand] for operand in call.operands]
        values[result] = getattr(numerics, call.function)(*operands, **dict(call.keywords))
    raise AssertionError("a function without a return")


def constant_value(graph: Graph, op: nn.ConstantOp) -> NDArray[Any]:
    key = op.key.data
    if key in graph.weights:
        return graph.weights.get(key)
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    return rng.uniform(0.5, 2, shape_of(op.out)).astype(np.float32)


def awkward(shape: tuple[int, ...], seed: int, *, finite: bool) -> NDArray[np.float32]:
    """Values of all sizes, with zeros of both signs, subnormals and (not if ``finite``) infinities."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * np.exp2(rng.integers(-6, 7, shape))
    largest = 3.0 if finite else np.inf
    special = np.array([0.0, -0.0, 1e-40, -1e-40, largest, -largest, 3.0, -3.0])
    places = rng.random(shape) < 0.2
    return np.where(places, rng.choice(special, shape), x).astype(np.float32)


EXACT = [
    case
    for case in CASES
    if case.file in ("canonicalize.cases", "cse.cases")
    and not case.name.startswith(("hard_swish_of", "constants"))
]


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.name)
def test_every_bit_is_kept(case: Case) -> None:
    before, after = graphs_around(case)
    arguments = before.main.body.block.args
    finite = "bfp." in case.given
    inputs = [awkward(shape_of(one), seed, finite=finite) for seed, one in enumerate(arguments)]
    with np.errstate(all="ignore"):
        pairs = zip(evaluate(before, inputs), evaluate(after, inputs), strict=True)
    for expected, found in pairs:
        if "nn.conv" in case.given:
            # The fp32 products of a model are BLAS's, which fixes no order.
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
        else:
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


ROUNDED = [
    case
    for case in CASES
    if case.file == "rebuild-normalization.cases" or case.name.startswith("hard_swish_of")
]


@pytest.mark.parametrize("case", ROUNDED, ids=lambda case: case.name)
def test_rebuilding_keeps_the_value(case: Case) -> None:
    before, after = graphs_around(case)
    rng = np.random.default_rng(5)
    inputs = [3 * rng.standard_normal(shape_of(one), np.float32) for one in before.main.body.block.args]
    for expected, found in zip(evaluate(before, inputs), evaluate(after, inputs), strict=True):
        scale = float(np.nanmax(np.abs(expected)))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * scale)


def graphs_around(case: Case) -> tuple[Graph, Graph]:
    """The graph of a case, and the same after its pipeline."""
    before, after = (Graph(parse_module(case.given), read_weights(case.weights)) for _ in range(2))
    run_pipeline(after, parse_pipeline(case.pipeline or case.file.removesuffix(".cases")))
    return before, after


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


def test_the_attributes_of_the_machine_parse_back_in_both_forms() -> None:
    (case,) = (case for case in CASES if (case.file, case.name) == ("insert-quantize.cases", "conv"))
    graph = Graph(parse_module(case.given))
    pipeline = "insert-quantize,fold-quantized-weights,map-contractions,schedule,allocate"
    run_pipeline(graph, parse_pipeline(pipeline))
    custom = str(graph.module)
    assert custom.count("#flexblock.") > 2
    assert str(parse_module(custom)) == custom
    assert str(parse_module(generic(graph.module))) == custom


@pytest.mark.parametrize("dialect", ["nn", "bfp", "lightnorm"])
def test_generic_form_has_no_custom_assembly(dialect: str) -> None:
    name = next(name for name, text in RESULTS.items() if f" = {dialect}." in text)
    printed = generic(parse_module(RESULTS[name]))
    assert re.search(rf'= "{dialect}\.\w+"\(', printed)
    assert f" = {dialect}." not in printed


def test_case_names_are_unique() -> None:
    names = [(case.file, case.name) for case in CASES]
    assert len(set(names)) == len(names)
