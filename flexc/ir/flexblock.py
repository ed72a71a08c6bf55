"""The ``flexblock`` dialect: attributes that say where and how an op runs on the machine."""

from __future__ import annotations

from xdsl.ir import Dialect

from flexc.ir.mapping import MappingAttr
from flexc.ir.placement import GroupAttr, PlacementAttr

FLEXBLOCK = Dialect("flexblock", [], [MappingAttr, PlacementAttr, GroupAttr])
