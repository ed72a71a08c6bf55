"""What a machine cannot hold, as errors: demand, capacity and what would help."""

from __future__ import annotations

from flexc.diagnostics import CompileError, Diagnostic, error
from flexc.mapping.footprint import a_tile_bytes, accumulator_tile_bytes, b_tile_bytes
from flexc.mapping.problem import ContractionProblem
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
    """FX413 for each buffer that the smallest tile overflows, or for the one tile that overflows together."""
    k, (r, s) = problem.k_step or problem.extent("k"), problem.extents[6:]
    k = min(k, problem.extent("k"))
    if problem.pass_ == "weight_grad":
        r = s = 1
    channels = min(2, problem.extent("o"))
    demands = (
        (
            "operand buffer",
            "operand_buffer_bytes",
            a_tile_bytes(problem, 1, 1, 1, 1, k, r, s),
            target.operand_tile_bytes,
        ),
        (
            "held buffer",
            "held_buffer_bytes",
            b_tile_bytes(problem, 1, channels, k, r, s),
            target.held_tile_bytes,
        ),
        (
            "psum buffer",
            "psum_buffer_bytes",
            accumulator_tile_bytes(1, 1, 1, 1, channels),
            target.accumulator_tile_bytes,
        ),
    )
    whole = (
        ""
        if problem.k_step
        else ", and the channels of a conv group cannot be cut between groups of both operands"
    )
    return CompileError(
        [
            Diagnostic(
                "FX413",
                f"the smallest tile needs {demand} bytes of the {buffer}, {capacity} are there for one tile "
                f"({demand - capacity} too few)",
                detail=problem.describe(),
                hint=f"a target with a larger {field}, shorter groups, or narrower mantissas{whole}",
            )
            for buffer, field, demand, capacity in demands
            if demand > capacity
        ]
    )
