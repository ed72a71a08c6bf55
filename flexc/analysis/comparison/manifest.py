"""Comparisons that are published with the package: a manifest names models, targets and options.

Models, for batches of 64 and without weights, are in the folder ``zoo`` (``python -m models.weightless``).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flexc.analysis.comparison.iso import Iso
from flexc.analysis.comparison.models import LoadModel, load_compared_model
from flexc.analysis.comparison.run import ComparisonOptions
from flexc.options import BatchNorm

FOLDER = Path(__file__).parent
MANIFESTS, ZOO = FOLDER / "manifests", FOLDER / "zoo"


@dataclass(frozen=True)
class Manifest:
    """What is compared, and how."""

    models: tuple[str, ...]
    options: ComparisonOptions

    def loads(self) -> list[LoadModel]:
        """The models, to be loaded one by one."""
        return [
            partial(load_compared_model, ZOO / f"{name}.onnx", train=True, batch=None, weights=False)
            for name in self.models
        ]


def manifest_names() -> tuple[str, ...]:
    """Names of the manifests, sorted."""
    return tuple(sorted(path.stem for path in MANIFESTS.glob("*.toml")))


def load_manifest(name: str) -> Manifest:
    """The manifest of that name; KeyError or ValueError where the package's file is broken."""
    found = tomllib.loads((MANIFESTS / f"{name}.toml").read_text(encoding="utf-8"))
    options = ComparisonOptions(
        targets=tuple(found.pop("targets")),
        policies=tuple(found.pop("policies")),
        batchnorm=BatchNorm(found.pop("batchnorm")),
        iso=Iso(found.pop("iso")),
        ranges=bool(found.pop("ranges")),
    )
    models = tuple(found.pop("models"))
    if found:
        raise ValueError(f"{name}: unknown keys {', '.join(found)}")
    return Manifest(models, options)
