"""The trained text-direction classifier, compiled, and images for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import flexc
from flexc.datasets.text_direction import HEIGHT, WIDTH, render_lines
from flexc.program import Program
from tests.end_to_end.model_inputs import spread

MODEL = Path(__file__).parents[2] / "models" / "ch_ppocr_mobile_v2.0_cls_mobile.onnx"


def compiled(batch: int, **options: Any) -> Program:
    return flexc.compile(MODEL, input_shapes={"x": (batch, 3, HEIGHT, WIDTH)}, **options)


def images(batch: int) -> npt.NDArray[np.float32]:
    """A line of text; the second of two images is noise over many magnitudes."""
    lines = render_lines(1, seed=1).images
    noise = spread(np.random.default_rng(0), (1, 3, HEIGHT, WIDTH))
    return np.concatenate([lines, noise])[:batch]
