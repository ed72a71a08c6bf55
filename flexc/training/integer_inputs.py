"""Integers of a data set that a model takes for entries of a table, or for classes of a loss of its own."""

from __future__ import annotations

from flexc.datasets.arrays import DataSet
from flexc.diagnostics import error
from flexc.ir.integer_uses import integer_uses
from flexc.ir.program import Graph
from flexc.training.binding import Binding


def check_integers(graph: Graph, data: DataSet, binding: Binding) -> None:
    """CompileError FX563 for integers of ``data`` that are no entry of a table, class of a loss, or i32.

    ``graph`` is the model as it was imported, with each loss in the ops that the importer makes of it.
    """
    for name, argument in zip(graph.input_names, graph.main.body.block.args, strict=True):
        for use in integer_uses(graph, argument):
            for given in (binding.array(examples, name) for examples in (data.train, data.test)):
                if not use.values.include(given):
                    raise error(
                        "FX563",
                        f"'{binding.array_name(name, data)}' of '{data.name}' goes from {given.min()} to "
                        f"{given.max()}; {use.values.what}",
                        place=use.place,
                        hint=use.hint,
                    )
