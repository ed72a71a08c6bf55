"""Whether a mapping may run on a machine: every rule checked on its own, violations explained.

Shares no code with the search, so that a mistake there is found here (machine description, "Legality").
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from flexc.ir.mapping import DIMS, OUTPUT_DIMS, Dim, Mapping
from flexc.mapping.nest_walk import WALKED_MACS, walk
from flexc.mapping.problem import ContractionProblem
from flexc.target.machine import HELD_PARAMETER_BYTES, Target

CORE_AXES = 3


def check(problem: ContractionProblem, mapping: Mapping, target: Target) -> list[str]:
    """What is wrong with ``mapping``, one sentence a violation; empty where it is legal.

    Up to ``WALKED_MACS`` MACs, and where all else is right, the loops are walked too: each MAC is done once,
    each output's segments come in canonical order.
    """
    found = [
        *_shape(problem, mapping),
        *_spatial(problem, mapping, target),
        *_pes(problem, mapping, target),
        *_cores(problem, mapping, target),
    ]
    if not found:
        found = [
            *_reduction_tiles(problem, mapping),
            *_channel_tiles(problem, mapping),
            *_buffers(problem, mapping, target),
            *_accumulators(problem, target),
        ]
    if not found and math.prod(problem.extents) <= WALKED_MACS:
        found = walk(problem, mapping)
    return found


def _shape(problem: ContractionProblem, mapping: Mapping) -> Iterator[str]:
    for dim, extent, tile in zip(DIMS, problem.extents, mapping.tile, strict=True):
        if not 1 <= tile <= extent:
            yield f"tile of {dim}: {tile} is not within 1 to {extent}"
    if sorted(mapping.order) != sorted(DIMS):
        yield f"order of loops: {', '.join(mapping.order)} does not name each of {', '.join(DIMS)} once"
    elif mapping.order[-3:] != ("k", "r", "s"):
        yield "order of loops: k, r, s must be innermost, in this order, for accumulators to stay on the chip"


def _spatial(problem: ContractionProblem, mapping: Mapping, target: Target) -> Iterator[str]:
    shape = target.pe_shape(problem.a_bits, problem.b_bits)
    lane, unit = mapping.lane, mapping.unit
    widths = {"a": problem.a_bits, "b": problem.b_bits}
    if widths[mapping.stream] > min(widths.values()):
        yield f"operand {mapping.stream} streams, but the other one is narrower"
    if not 1 <= lane.factor <= shape.lanes:
        yield f"{lane.factor} lanes, a PE has {shape.lanes}"
    if not 1 <= unit.factor <= shape.units:
        yield f"{unit.factor} units, a PE has {shape.units}"
    if lane.dim != "k":
        if problem.extent("k") > 1:
            yield f"lanes over {lane.dim}: lanes reduce k, which has {problem.extent('k')} elements"
        elif lane.dim not in ("g", "o"):
            yield f"lanes over {lane.dim}: lanes that make outputs take channels, g or o"
        if lane.factor * unit.factor > target.pe_fp32_adders:
            yield (
                f"{lane.factor} lanes x {unit.factor} units make different outputs, a PE has "
                f"{target.pe_fp32_adders} fp32 adders"
            )
    held: dict[str, tuple[Dim, ...]] = {"a": ("o",), "b": ("n", "p", "q")}
    allowed = (*held[mapping.stream], *(() if lane.dim == "k" else (lane.dim,)))
    if unit.dim not in allowed:
        yield (
            f"units over {unit.dim}: they share a line of operand {mapping.stream}, so they make different "
            f"{' or '.join(allowed)}"
        )


def _pes(problem: ContractionProblem, mapping: Mapping, target: Target) -> Iterator[str]:
    used = math.prod(pe.factor for pe in mapping.pes)
    if any(pe.factor not in (1, 3, 9) for pe in mapping.pes) or used > target.pes_per_core:
        factors = [pe.factor for pe in mapping.pes]
        yield f"PEs {factors}: factors are 1, 3 or 9, and {target.pes_per_core} together"
    chain: dict[str, int] = {}
    for pe in mapping.pes:
        if pe.role == "reduce" and pe.dim != "k":
            yield f"PEs reduce {pe.dim}: parts of one segment lie along k"
        if pe.role == "outputs" and pe.dim not in OUTPUT_DIMS:
            yield f"PEs make outputs along {pe.dim}, which is reduced"
        if pe.role == "chain":
            if pe.dim not in ("k", "r", "s"):
                yield f"PEs chain {pe.dim}, which is not reduced"
            if pe.dim in chain:
                yield f"PEs chain {pe.dim} twice"
            chain[pe.dim] = pe.factor
    pairs: tuple[tuple[Dim, Dim], ...] = (("k", "r"), ("k", "s"), ("r", "s"))
    for outer, inner in pairs:
        if chain.get(outer, 1) > 1 and chain.get(inner, 1) < mapping.tile_of(inner):
            yield f"PEs chain {outer}, but {inner} inside it is not whole: the segments are not consecutive"


def _cores(problem: ContractionProblem, mapping: Mapping, target: Target) -> Iterator[str]:
    dims = [factor.dim for factor in mapping.cores]
    used = math.prod(factor.factor for factor in mapping.cores)
    if min((factor.factor for factor in mapping.cores), default=1) < 1 or used > target.cores:
        yield f"{used} cores, the chip has {target.cores}"
    if len(set(dims)) < len(dims):
        yield f"cores split {', '.join(dims)}: a dimension is named twice"
    if sum(factor.factor > 1 for factor in mapping.cores) > CORE_AXES:
        yield f"cores split {len(dims)} dimensions, at most {CORE_AXES} can be"
    for dim in dims:
        if dim not in OUTPUT_DIMS:
            yield f"cores split {dim}: they make different outputs, never parts of one"
        if dim == "q" and problem.extent("p") > 1:
            yield "cores split q: rows p are split first"


def _reduction_tiles(problem: ContractionProblem, mapping: Mapping) -> Iterator[str]:
    k, k_tile = problem.extent("k"), mapping.tile_of("k")
    groups = problem.extent("g") if problem.kind != "matmul" and problem.pass_ != "weight_grad" else 1
    if k_tile < k:
        offsets = {(g * k) % problem.a_group for g in range(groups)}
        if k_tile % problem.b_group or any(
            (offset + k_tile) % problem.a_group or offset for offset in offsets
        ):
            yield (
                f"tile of k: a cut every {k_tile} elements does not fall between groups of both operands, "
                f"{problem.a_group} and {problem.b_group} long"
            )
        if k_tile % 2 and min(problem.a_bits, problem.b_bits) == 4:
            yield f"tile of k: tiles of {k_tile} mantissas of 4 bits do not start on a byte"
    window = [(dim, mapping.tile_of(dim), problem.extent(dim)) for dim in ("r", "s")]
    cut = [dim for dim, tile, extent in window if tile < extent]
    if cut and problem.pass_ != "weight_grad":
        yield f"tile of {', '.join(cut)}: a window is never cut"
    elif cut:
        if k_tile > min(problem.a_group, problem.b_group, k):
            yield f"tile of {', '.join(cut)}: the window is cut inside a tile of several segments of k"
        if "s" in cut and mapping.tile_of("r") > 1:
            yield "tile of s: columns are cut inside a tile of several rows"


def _channel_tiles(problem: ContractionProblem, mapping: Mapping) -> Iterator[str]:
    """Cuts of the result's channels: groups of four between chip tiles, pairs between cores."""
    g, o = problem.extent("g"), problem.extent("o")
    chip_o = mapping.tile_of("o") * mapping.core_factor("o")
    chip_g = mapping.tile_of("g") * mapping.core_factor("g")
    shared = g > 1 and problem.kind != "matmul"
    if mapping.tile_of("o") < o:
        if mapping.tile_of("o") % 2:
            yield f"tile of o: {mapping.tile_of('o')} channels are not pairs"
        if (chip_o < o and chip_o % 4) or (shared and o % 4):
            yield f"tile of o: {chip_o} channels of {o} a chip tile do not keep groups of 4 channels together"
    if shared and mapping.tile_of("g") < g:
        if mapping.tile_of("g") * o % 2 or (chip_g < g and chip_g * o % 4):
            yield f"tile of g: {chip_g} groups of {o} channels do not keep groups of 4 channels together"
        if problem.a_bits == 4 and mapping.tile_of("g") * problem.extent("k") % 2:
            yield "tile of g: tiles of mantissas of 4 bits do not start on a byte"


def _buffers(problem: ContractionProblem, mapping: Mapping, target: Target) -> Iterator[str]:
    demands = (
        ("operand", _a_bytes(problem, mapping), target.operand_buffer_bytes // 2),
        ("held", _b_bytes(problem, mapping), (target.held_buffer_bytes - HELD_PARAMETER_BYTES) // 2),
        ("psum", 4 * math.prod(mapping.tile[:5]), target.psum_buffer_bytes * 5 // 16),
    )
    for buffer, demand, capacity in demands:
        if demand > capacity:
            yield f"{buffer} buffer: a tile takes {demand} bytes, {capacity} are there"


def _a_bytes(problem: ContractionProblem, mapping: Mapping) -> int:
    g, n, p, q, _, k, r, s = mapping.tile
    if problem.kind == "matmul":
        return g * p * (math.ceil(k * problem.a_bits / 8) + math.ceil(k / problem.a_group))
    rows = p if r == 1 else (p - 1) * problem.stride[0] + (r - 1) * problem.dilation[0] + 1
    columns = q if s == 1 else (q - 1) * problem.stride[1] + (s - 1) * problem.dilation[1] + 1
    if problem.extent("g") > 1 and problem.pass_ != "weight_grad":
        channels = problem.extent("g") * problem.extent("k")
        pixel = math.ceil(g * k * problem.a_bits / 8) + math.ceil(channels / problem.a_group)
    else:
        pixel = g * (math.ceil(k * problem.a_bits / 8) + math.ceil(k / problem.a_group))
    return n * rows * columns * pixel


def _b_bytes(problem: ContractionProblem, mapping: Mapping) -> int:
    g, _, _, _, o, k, r, s = mapping.tile
    exponents = 1 if problem.b_group_dim == "window" else r * s * math.ceil(k / problem.b_group)
    return g * o * (r * s * math.ceil(k * problem.b_bits / 8) + exponents)


def _accumulators(problem: ContractionProblem, target: Target) -> Iterator[str]:
    largest = (2 ** (problem.a_bits - 1) - 1) * (2 ** (problem.b_bits - 1) - 1)
    length = problem.extent("k")
    if problem.a_group_dim == "k":
        length = min(length, problem.a_group)
    if problem.b_group_dim == "k":
        length = min(length, problem.b_group)
    if length * largest >= 2 ** (target.accumulator_bits - 1):
        yield f"a segment of {length} elements may overflow an accumulator of {target.accumulator_bits} bits"
