"""How a family of operators registers its importers, by the opset from which each form holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from flexc.importer.node import Node
from flexc.importer.values import Value

Importer: TypeAlias = Callable[[Node], tuple[Value, ...]]
Versions: TypeAlias = Mapping[int, Importer | None]
"""First opset of each form of an operator; None where the operator was removed."""

Family: TypeAlias = Mapping[str, Versions]
