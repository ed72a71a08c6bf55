"""Golden files: ``pytest --update-golden`` rewrites them from what the code gives now (not with xdist)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flexc.disk_cache import VARIABLE

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


@pytest.fixture(scope="session", autouse=True)
def mapping_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of mappings for this session alone, so that tests neither see nor change the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """The golden files."""
    return Golden(bool(request.config.getoption("--update-golden")))
