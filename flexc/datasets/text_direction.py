"""Rendered text lines, half of them upside down, as the text-direction classifier wants them.

Lines are drawn with Pillow's own default font at several sizes, in dark ink on light paper or the reverse,
with the font's words chosen by a seeded generator. Label 1 means rotated by 180 degrees.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from flexc.diagnostics import error

if TYPE_CHECKING:
    from PIL import Image

HEIGHT = 48
WIDTH = 192
FONT_SIZES = (16, 20, 24, 28, 32, 40)
MARGIN = 4
VOCABULARY = (
    "activation batch block buffer cache channel clock compute core cycle data depth engine exponent "
    "float forward gradient group input kernel lane layer learning line loop mantissa mapping memory "
    "model network norm operand output pixel policy precision quantize range reading region report "
    "schedule segment shape signal square stream tensor tile token train unit update value vector weight "
    "window word yield zone"
)


@dataclass(frozen=True)
class LabelledImages:
    """``images`` [N, 3, 48, 192] fp32 in [-1, 1]; ``labels`` [N] int64, 1 for rotated by 180 degrees."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def render_lines(count: int, *, seed: int) -> LabelledImages:
    """``count`` lines, every second one rotated; CompileError where Pillow is missing."""
    if importlib.util.find_spec("PIL") is None:
        raise error("FX551", "rendering text lines needs Pillow", hint="pip install 'flexc[demo]'")
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 2
    images = np.stack([preprocess(_line(rng, rotated=bool(label))) for label in labels])
    return LabelledImages(images, labels)


def preprocess(line: Image.Image) -> npt.NDArray[np.float32]:
    """The [3, 48, 192] input for a line: height 48, width 192 at most, values -1 to 1, then zeros."""
    from PIL import Image

    width = min(WIDTH, -(-HEIGHT * line.width // line.height))
    pixels = np.asarray(line.resize((width, HEIGHT), Image.Resampling.BILINEAR), np.float32)
    padded = np.zeros((3, HEIGHT, WIDTH), np.float32)
    padded[:, :, :width] = (pixels.transpose(2, 0, 1) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    return padded


def _line(rng: np.random.Generator, *, rotated: bool) -> Image.Image:
    from PIL import Image, ImageDraw, ImageFont

    text = " ".join(str(word) for word in rng.choice(VOCABULARY.split(), size=int(rng.integers(1, 4))))
    if rng.random() < 0.3:
        text = text.title()
    if rng.random() < 0.2:
        text += f" {int(rng.integers(0, 10000))}"
    font = ImageFont.load_default(size=int(rng.choice(FONT_SIZES)))
    left, top, right, bottom = (int(edge) for edge in font.getbbox(text))
    size = (right - left + 2 * MARGIN, bottom - top + 2 * MARGIN)
    dark, light = int(rng.integers(0, 70)), int(rng.integers(180, 256))
    paper, ink = (light, dark) if rng.random() < 0.8 else (dark, light)
    image = Image.new("RGB", size, (paper,) * 3)
    ImageDraw.Draw(image).text((MARGIN - left, MARGIN - top), text, fill=(ink,) * 3, font=font)
    return image.transpose(Image.Transpose.ROTATE_180) if rotated else image
