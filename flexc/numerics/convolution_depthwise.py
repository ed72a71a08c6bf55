"""Depthwise convolution, forward: each tap is a segment of one product.

RN32 of a product of two exactly held mantissas is what one fp32 multiplication gives, at any exponents,
so each tap is a rounded multiplication and a rounded addition; padding adds zeros, which change nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import BlockTensor
from flexc.numerics.contraction import FP32
from flexc.numerics.convolution_geometry import ConvGeometry
from flexc.numerics.convolution_patches import pad_channels_last, windows_of


def depthwise_conv(x: BlockTensor, w: BlockTensor, geometry: ConvGeometry) -> NDArray[np.float32]:
    """y [N, spatial..., O] of w [O, 1, kernel...], taps separate."""
    multiplier = w.shape[0] // geometry.group
    padded = pad_channels_last(x.values, geometry, FP32, 0)
    if multiplier > 1:
        padded = np.repeat(padded, multiplier, axis=-1)
    taps = w.prepared("taps", lambda: np.ascontiguousarray(w.values.reshape(w.shape[0], -1).T))
    y = np.zeros((x.shape[0], *geometry.y_spatial, w.shape[0]), np.float32)
    product = np.empty_like(y)
    for window, tap in zip(windows_of(geometry), taps, strict=True):
        np.multiply(padded[window], tap, out=product)
        np.add(y, product, out=y)
    return y
