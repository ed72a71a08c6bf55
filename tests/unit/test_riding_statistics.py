"""LightNorm's statistics on the write-back of a contraction: the same bytes whatever the tiles are.

Inputs are small integers, so that maxima and minima stand in several tiles, and the first position counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.ir import Operation

from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import OPCODES, Addressing, Opcode
from flexc.backends.stream.simulate import simulate
from flexc.ir import bfp, lightnorm, window_shapes
from flexc.ir.mapping import DIMS, Dim, Factor, Mapping, MappingAttr
from flexc.ir.placement import group_of
from flexc.ir.program import Graph, parse_module
from flexc.ir.shapes import TensorSpec
from flexc.mapping.from_ir import problem_of
from flexc.mapping.search import search
from flexc.numerics import lightnorm_train, lightnorm_train_normalize, lightnorm_train_statistics
from flexc.passes.allocate import Allocate
from flexc.passes.manager import run_pipeline
from flexc.passes.schedule import Schedule
from flexc.target import load_target
from tests.gradient_graphs import block_text, tensor_text
from tests.stream_agreement import Agreement, compare_with_stream

Array: TypeAlias = npt.NDArray[Any]
CATALOG = Path(__file__).parents[2] / "flexc" / "target" / "catalog"
RESULTS = ("y", "mean", "range", "xhat", "argmax", "argmin", "scale", "gamma_q")


@dataclass(frozen=True)
class Case:
    """A convolution (or, of two dimensions, a product) and the chunks of the LightNorm behind it."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    chunks: int = 8
    group: int = 1
    pads: int = 0
    stride: int = 1
    rounding: str = "nearest"

    @property
    def out(self) -> tuple[int, ...]:
        """The shape of the result."""
        if len(self.x) == 2:
            return self.x[0], self.w[1]
        spatial = len(self.x) - 2
        return window_shapes.conv(
            TensorSpec(self.x),
            TensorSpec(self.w),
            stride=(self.stride,) * spatial,
            pads=(self.pads,) * 2 * spatial,
            dilation=(1,) * spatial,
            group=self.group,
        ).shape


def text_of(case: Case) -> str:
    """The graph: both operands quantized, contraction, LightNorm."""
    x, w, out = map(tensor_text, (case.x, case.w, case.out))
    rank = len(case.x)
    x_block = block_text(case.x, (1, 4, *(1,) * (rank - 2)), 8)
    depthwise = case.group > 1 and case.w[1] == 1
    w_tile = (4, 1) if rank == 2 else (1, 1, *case.w[2:]) if depthwise else (1, 4, *(1,) * (rank - 2))
    w_block = block_text(case.w, w_tile, 8)
    rounding = 'rounding = "nearest", seed = 0 : i64'
    vector = tensor_text((case.out[1],))
    positions = prod(case.out) // case.out[1]
    places = tensor_text((case.out[1], np.gcd(positions, case.chunks)), "i64")
    types = [out, vector, vector, out, places, places, vector, vector]
    if rank == 2:
        contraction = f"bfp.matmul %a, %b : {x_block}, {w_block} -> {out}"
    else:
        steps, pads, ones = (
            ", ".join([str(number)] * count)
            for number, count in ((case.stride, rank - 2), (case.pads, 2 * (rank - 2)), (1, rank - 2))
        )
        contraction = (
            f"bfp.conv %a, %b {{stride = array<i64: {steps}>, dilation = array<i64: {ones}>, "
            f"pads = array<i64: {pads}>, "
            f"group = {case.group} : i64}} : {x_block}, {w_block} -> {out}"
        )
    outputs = ", ".join(f'"{name}"' for name in ("c", *RESULTS))
    names = ", ".join(f"%{name}" for name in RESULTS)
    given = f"%x: {x}, %w: {w}, %gamma: {vector}, %beta: {vector}"
    return f"""func.func @main({given}) -> ({", ".join([out, *types])})
  attributes {{inputs = ["x", "w", "gamma", "beta"], outputs = [{outputs}]}} {{
  %a = bfp.quantize %x {{{rounding}, stream = 0 : i64}} : {x} -> {x_block}
  %b = bfp.quantize %w {{{rounding}, stream = 1 : i64}} : {w} -> {w_block}
  %c = {contraction}
  {names} = lightnorm.forward %c, %gamma, %beta {{eps = 0.001 : f32, num_chunks = {case.chunks} : i64,
    rounding = "{case.rounding}"}} : {out}, {vector}, {vector} -> {", ".join(types)}
  func.return %c, {names} : {", ".join([out, *types])}
}}"""


def inputs_of(case: Case) -> dict[str, Array]:
    """Small integers; vectors of channels."""
    rng = np.random.default_rng(5)
    return {
        "x": rng.integers(-2, 3, case.x).astype(np.float32),
        "w": rng.integers(-1, 2, case.w).astype(np.float32),
        "gamma": rng.standard_normal(case.out[1]).astype(np.float32),
        "beta": rng.standard_normal(case.out[1]).astype(np.float32),
    }


def target_of(folder: Path, cores: int, buffer_bytes: int) -> str:
    """A machine that keeps no tensor of these tests on chip."""
    text = (CATALOG / "flexblock.toml").read_text()
    text = text.replace("cores = 16", f"cores = {cores}")
    for buffer in ("operand", "held", "psum"):
        text = text.replace(f"{buffer}_buffer_bytes = 32_768", f"{buffer}_buffer_bytes = {buffer_bytes}")
    path = folder / "small.toml"
    path.write_text(text)
    return str(path)


def only(graph: Graph, kind: type[Operation]) -> Operation:
    """The one op of a kind."""
    (found,) = (op for op in graph.main.body.block.ops if isinstance(op, kind))
    return found


def check(case: Case, target: str, mapping: Mapping | None = None) -> Agreement:
    """Bytes of stream and graph agree, and are those of LightNorm as a whole."""
    graph = Graph(parse_module(text_of(case)))
    op = only(graph, bfp.MatMulOp if len(case.x) == 2 else bfp.ConvOp)
    assert isinstance(op, bfp.ConvOp | bfp.MatMulOp)
    op.attributes["mapping"] = MappingAttr(mapping or search(problem_of(op, None), load_target(target)))
    run_pipeline(graph, (Schedule(target), Allocate(target)), verify_each=True)
    inputs = inputs_of(case)
    found = compare_with_stream(graph, inputs, target)
    outputs = found.simulation.outputs
    whole = lightnorm_train(
        outputs["c"],
        inputs["gamma"],
        inputs["beta"],
        eps=float(np.float32(0.001)),
        num_chunks=case.chunks,
        rounding=case.rounding,
    )
    for name, expected in zip(RESULTS, whole, strict=True):
        assert outputs[name].tobytes() == np.ascontiguousarray(expected).tobytes(), name
    return found


def rides(found: Agreement) -> bool:
    """Whether the statistics are in the contraction's group."""
    ops = list(found.graph.main.body.block.ops)
    groups = {type(op): group_of(op) for op in ops}
    if lightnorm.ForwardOp in groups:
        return False
    contraction = groups.get(bfp.ConvOp, groups.get(bfp.MatMulOp))
    assert groups[lightnorm.StatisticsOp] == contraction
    assert groups[lightnorm.NormalizeOp] != contraction
    return True


CASES = {
    "plain": Case((6, 8, 9, 10), (12, 8, 3, 3), pads=1),
    "chunks of uneven rows": Case((12, 8, 7, 9), (8, 8, 1, 1), chunks=9),
    "positions that no chunks divide": Case((3, 8, 13, 15), (20, 8, 1, 1)),
    "channels that fill no group": Case((12, 8, 8, 8), (18, 8, 1, 1), chunks=4),
    "one chunk": Case((9, 8, 10, 7), (12, 8, 1, 1), chunks=1),
    "stride": Case((6, 8, 21, 19), (12, 8, 3, 3), stride=2, pads=1, rounding="truncate"),
    "depthwise": Case((8, 16, 9, 8), (16, 1, 3, 3), chunks=4, group=16, pads=1),
    "one dimension": Case((9, 8, 70), (12, 8, 3), pads=1),
    "a matrix": Case((600, 24), (24, 20), chunks=3),
}


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_statistics_ride(case: Case, cores: int, tmp_path: Path) -> None:
    found = check(case, target_of(tmp_path, cores, 4_096))
    assert rides(found)
    opcodes = [Opcode(code) for code in found.stream.records["opcode"].tolist()]
    assert opcodes.count(Opcode.STATISTICS) == 1


IMAGE = Case((5, 8, 11, 10), (24, 8, 1, 1), chunks=5)
ORDERS: tuple[tuple[Dim, ...], ...] = (
    ("o", "n", "p", "q"),
    ("n", "p", "q", "o"),
    ("q", "p", "n", "o"),
    ("p", "o", "n", "q"),
    ("q", "n", "o", "p"),
)


def mapping_of(order: tuple[Dim, ...], tile: dict[Dim, int], cores: dict[Dim, int]) -> Mapping:
    """A mapping with the given order of output loops."""
    return Mapping(
        stream="a",
        lane=Factor("k", 4),
        unit=Factor("o", 2),
        pes=(),
        cores=tuple(Factor(dim, count) for dim, count in cores.items()),
        tile=tuple(tile.get(dim, 8 if dim == "k" else 1) for dim in DIMS),
        order=("g", *order, "k", "r", "s"),
    )


@pytest.mark.parametrize("order", ORDERS, ids="".join)
def test_orders_of_tiles(order: tuple[Dim, ...], tmp_path: Path) -> None:
    """Tiles split chunks, rows, images and channels, with a remainder of each."""
    mapping = mapping_of(order, {"n": 2, "p": 3, "q": 2, "o": 8}, {"q": 2})
    found = check(IMAGE, target_of(tmp_path, 2, 4_096), mapping)
    assert rides(found)
    (record,) = found.stream.records[found.stream.records["opcode"] == Opcode.STATISTICS]
    state = record["operand"][OPCODES[Opcode.STATISTICS].operands.index("state")]
    assert Addressing(int(state["addressing"])) is (Addressing.CHIP if order[0] == "o" else Addressing.GLOBAL)


@settings(max_examples=15, deadline=None)
@given(
    st.permutations(["n", "p", "q", "o"]),
    st.tuples(st.integers(1, 2), st.integers(2, 5), st.integers(2, 5), st.sampled_from([2, 4, 8, 12])),
    st.sampled_from(["n", "p", "q", "o"]),
    st.sampled_from([1, 5, 11]),
)
def test_any_tiles(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[Dim],
    tile: tuple[int, int, int, int],
    split: Dim,
    chunks: int,
) -> None:
    """Cores may hold half a group of channels, if those of all cores are whole."""
    extents: dict[Dim, int] = dict(zip(("n", "p", "q", "o"), tile, strict=True))
    if split != "o" and extents["o"] == 2:
        extents["o"] = 4
    mapping = mapping_of(tuple(order), extents, {split: 2})
    target = target_of(tmp_path_factory.mktemp("target"), 2, 4_096)
    check(replace(IMAGE, chunks=chunks), target, mapping)


def test_a_tensor_that_stays_on_chip_is_normalized_where_it_is() -> None:
    assert not rides(check(IMAGE, "flexblock"))


def test_a_state_without_room_has_a_pass_of_its_own(tmp_path: Path) -> None:
    """That of all channels takes 9,600 bytes; that of a tile, where channels are the outer loop, a third."""
    case, target = replace(IMAGE, chunks=10), target_of(tmp_path, 2, 4_096)
    tile: dict[Dim, int] = {"n": 2, "p": 3, "q": 2, "o": 8}
    assert not rides(check(case, target, mapping_of(("n", "p", "q", "o"), tile, {"q": 2})))
    assert rides(check(case, target, mapping_of(("o", "n", "p", "q"), tile, {"q": 2})))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("immediate_int", 5, "positions .* in chunks 0 to 4 of 5"),
        ("immediate_int", 0, "chunks of no positions"),
        ("axis", 2, "other dimensions than chunks and rows"),
        ("operand.0.addressing", int(Addressing.LOCAL), "local addresses"),
        ("operand.0.stride.0", 64, "moves along positions"),
        ("operand.1.stride.4", 32, "moves along the state"),
        ("operand.2.stride.3", 1, "moves along other than positions"),
        ("operand.2.slot", 9, "has a slot"),
    ],
)
def test_statistics_that_mean_nothing_are_faults(
    field: str, value: int, message: str, tmp_path: Path
) -> None:
    mapping = mapping_of(("n", "p", "q", "o"), {"n": 2, "p": 3, "q": 2, "o": 8}, {"q": 2})
    stream = check(IMAGE, target_of(tmp_path, 2, 4_096), mapping).stream
    records = stream.records.copy()
    place = records[int(np.argmax(records["opcode"] == Opcode.STATISTICS)) :][:1]
    *path, last = [int(part) if part.isdigit() else part for part in field.split(".")]
    for part in path:
        place = place[:, part] if isinstance(part, int) else place[part]
    if isinstance(last, int):
        place[:, last] = value
    else:
        place[last] = value
    with pytest.raises(StreamFault, match=message):
        simulate(replace(stream, records=records), inputs_of(IMAGE))


@pytest.mark.parametrize("shape", [(4, 12, 5, 3), (6, 7, 4), (40, 9)])
@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_both_halves_are_the_whole(shape: tuple[int, ...], scale: float) -> None:
    """Betas so large that a value on the way could overflow are those of the reference."""
    rng = np.random.default_rng(8)
    x = rng.standard_normal(shape).astype(np.float32)
    gamma, beta = rng.standard_normal((2, shape[1])).astype(np.float32) * np.float32(scale)
    whole = lightnorm_train(x, gamma, beta, eps=1e-5, num_chunks=4)
    mean, spread, argmax, argmin, factor, gamma_q = lightnorm_train_statistics(
        x, gamma, eps=1e-5, num_chunks=4
    )
    y, xhat = lightnorm_train_normalize(x, mean, factor, gamma_q, beta)
    halves: tuple[Array, ...] = (y, mean, spread, xhat, argmax, argmin, factor, gamma_q)
    for name, value, expected in zip(RESULTS, halves, whole, strict=True):
        assert value.tobytes() == np.asarray(expected).tobytes(), name
