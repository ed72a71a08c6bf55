"""What a machine cannot hold, as errors: demand, capacity and what would help."""

from __future__ import annotations

from flexc.diagnostics import CompileError, Diagnostic, error
from flexc.mapping.footprint import a_tile_bytes, accumulator_tile_bytes, b_tile_bytes
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.tile_candidates import smallest_tile
from flexc.target.machine import Target


def require_accumulators(problem: ContractionProblem, target: Target) -> None:
    """Raise FX412 where the sum of a segment may need more bits than an integer accumulator has.

    One bit of the accumulator is the sign.
    """
    available = target.accumulator_bits - 1
    if problem.accumulator_bits <= available:
        return
    raise error(
        "FX412",
        f"a sum of {problem.longest_segment} products of {problem.a_bits} x {problem.b_bits} bits may need "
        f"{problem.accumulator_bits} bits; an accumulator of '{target.name}' has {available} and a sign",
        detail=problem.describe(),
        hint="shorter groups or narrower mantissas for this layer",
    )


def does_not_fit(problem: ContractionProblem, target: Target) -> CompileError:
    """FX413 for each buffer that the smallest tile overflows; FX417 where only wrong cuts would fit."""
    g, n, p, q, o, k, r, s = smallest_tile(problem, target)
    demands = (
        ("operand", a_tile_bytes(problem, g, n, p, q, k, r, s), target.operand_tile_bytes),
        ("held", b_tile_bytes(problem, g, o, k, r, s), target.held_tile_bytes),
        ("psum", accumulator_tile_bytes(g, n, p, q, o), target.accumulator_tile_bytes),
    )
    overflowing = [
        Diagnostic(
            "FX413",
            f"the smallest tile takes {demand} bytes of the {buffer} buffer, which has {capacity} for one, "
            f"{demand - capacity} too few",
            detail=problem.describe(),
            hint=f"a target with a larger {buffer}_buffer_bytes, shorter groups, or narrower mantissas",
        )
        for buffer, demand, capacity in demands
        if demand > capacity
    ]
    out_of_order = Diagnostic(
        "FX417",
        "no tile both fits and keeps segments in order: the window has to be cut, and groups of "
        f"{problem.a_group} and {problem.b_group} elements end together only after several segments",
        detail=problem.describe(),
        hint="equal groups of both operands, or a target with larger buffers",
    )
    return CompileError(overflowing or [out_of_order])
