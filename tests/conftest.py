"""Golden files: ``pytest --update-golden`` rewrites them from what the code gives now (not with xdist)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

GOLDEN_ROOT = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Golden:
    """Compares text with a file under tests/golden, or rewrites the file."""

    update: bool

    def check(self, name: str, text: str) -> None:
        """Fails unless ``tests/golden/<name>`` holds ``text``."""
        path = GOLDEN_ROOT / name
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        if not path.is_file():
            pytest.fail(f"tests/golden/{name} is missing; --update-golden writes it")
        assert text == path.read_text(encoding="utf-8"), f"tests/golden/{name} differs; see --update-golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """The golden files."""
    return Golden(bool(request.config.getoption("--update-golden")))
