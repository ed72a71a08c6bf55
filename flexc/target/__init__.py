"""Targets: the machines that flexc compiles for, as strict TOML files and frozen dataclasses."""

from __future__ import annotations

from flexc.target.load import catalog_names, load_target, parse_target, target_file
from flexc.target.machine import PeShape, Target

__all__ = ["PeShape", "Target", "catalog_names", "load_target", "parse_target", "target_file"]
