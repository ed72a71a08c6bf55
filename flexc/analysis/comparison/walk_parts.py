"""How engines overlap within a tile of a vector group: a function starts once its own operands are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from flexc.analysis.comparison.machines import Machine
from flexc.analysis.comparison.workload import BlockOperand, GroupWork, Tensor
from flexc.cost.pipeline import ALL, Part


@dataclass(frozen=True)
class WalkParts:
    """Parts of the stages of a walk's tile program."""

    of_functions: tuple[Part, ...] = ALL
    of_conversions: tuple[Part, ...] = ALL
    of_stores: tuple[Part, ...] = ALL


def walk_parts(
    work: GroupWork,
    machine: Machine,
    quantized: Sequence[BlockOperand],
    stored: Sequence[Tensor],
    loads: Sequence[tuple[int, int]],
) -> WalkParts:
    """The parts of a group's stages; ``loads`` are those of a tile in order: place of the read, cycles."""
    order = None if work.walk is None else work.walk.order
    lightnorm = work.lightnorm_elements > 0
    if (
        order is None
        or lightnorm
        or len(quantized) != len(order.converted)
        or len(stored) != len(order.stored)
    ):
        return WalkParts()
    rates = machine.system.vector_cycles
    functions = [elements * rates.cycles_of(name) for name, elements in work.vector]
    conversions = [one.elements for one in quantized]
    bits = [machine.operand_bits(one) or 0 for one in quantized]
    plain = [one.elements * machine.tensor_bits(one) for one in stored]
    place = {read: count for count, (read, _) in enumerate(loads, 1)}
    needed = [max((place.get(read, 0) for read in reads), default=0) for reads in order.loads]
    of_functions = _parts(needed, [cycles for _, cycles in loads], functions)
    of_conversions = _parts(order.converted, functions, conversions)
    if conversions:
        # Plain results are stored behind quantized ones.
        of_stores = _parts(range(1, len(bits) + 1), conversions, [*bits[:-1], bits[-1] + sum(plain)])
    else:
        of_stores = _parts(order.stored, functions, plain)
    return WalkParts(of_functions, of_conversions, of_stores)


def _parts(needed: Sequence[int], above: Sequence[int], own: Sequence[int]) -> tuple[Part, ...]:
    """Of pieces ``own``, what is left from each on, once as many of those ``above`` are done as it needs."""
    if not own or not sum(own) or not sum(above):
        return ALL
    done = [0, *accumulate(above)]
    left = sum(own)
    found = []
    for count, cycles in zip(needed, own, strict=True):
        found.append(Part(done[count] / done[-1], left / sum(own)))
        left -= cycles
    return tuple(_binding(found))


def _binding(parts: Sequence[Part]) -> Iterator[Part]:
    """Those that another one, with as much done before and more left, does not cover."""
    latest = -1.0
    for part in parts:
        if part.done > latest:
            latest = part.done
            yield part
