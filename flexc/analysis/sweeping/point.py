"""One point of a sweep, and the key of its result: a digest of everything that the result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from flexc import __version__
from flexc.artefact import sha256_of
from flexc.diagnostics import CompileError
from flexc.precision.loading import load_policy
from flexc.target import load_target
from flexc.target.load_baseline import baseline_names, load_baseline


@dataclass(frozen=True)
class Point:
    """What is compiled, how, and for which machine."""

    model: str
    target: str
    policy: str
    batch: int
    train: bool
    batchnorm: str

    def key(self) -> str:
        """Hexadecimal digest of the contents of model, target and policy, of the options and flexc's version.

        Where a file is missing or wrong, its name stands for it: the point fails when it is evaluated.
        """
        return self._key(digest_of_model(self.model))

    def _key(self, model: str) -> str:
        content = {
            **asdict(self),
            "model": model,
            "target": _content(_load_machine, self.target),
            "policy": content_of_policy(self.policy),
            "flexc": __version__,
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def keys_of(points: Iterable[Point]) -> list[str]:
    """The key of each point; a model's file is read once for all of them."""
    digest = cache(digest_of_model)
    return [point._key(digest(point.model)) for point in points]


def digest_of_model(model: str) -> str:
    """Hexadecimal digest of a model's file; its name where there is none."""
    path = Path(model)
    return sha256_of(path) if path.is_file() else model


def content_of_policy(policy: str) -> str:
    """What a policy says, in one text; its name where it cannot be loaded."""
    return _content(load_policy, policy)


def _load_machine(name: str) -> object:
    return load_baseline(name) if name in baseline_names() else load_target(name)


def _content(load: Callable[[str], object], name: str) -> str:
    try:
        return repr(load(name))
    except CompileError:
        return name
