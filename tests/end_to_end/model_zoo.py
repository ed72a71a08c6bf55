"""The builders' models at three sizes: reduced for the quick tests, CIFAR's, and ImageNet's.

Reduced widths are chosen to be awkward: channels that fill no group of 4, 54, 108 or 216, and some models
take more than one image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import onnx

from models.make_densenet import make_densenet121
from models.make_mobilenet import make_mobilenet_v1, make_mobilenet_v2
from models.make_resnet import make_resnet
from models.make_transformer import make_bert, make_transformer
from models.make_vgg import make_vgg16

MakeModel: TypeAlias = Callable[[], onnx.ModelProto]

REDUCED: Mapping[str, MakeModel] = {
    "resnet18": partial(make_resnet, "resnet18", size=30, width=14, classes=10, batch=2),
    "resnet50": partial(make_resnet, "resnet50", size=26, width=12, classes=10),
    "mobilenet_v1": partial(make_mobilenet_v1, size=31, width=0.35, classes=10, batch=2),
    "mobilenet_v2": partial(make_mobilenet_v2, size=32, width=0.3, classes=10),
    "vgg16": partial(make_vgg16, size=32, width=0.22, classes=11, batch=2),
    "densenet121": partial(make_densenet121, size=24, depths=(3, 2, 2, 3), growth=18, classes=10),
    "transformer": partial(
        make_transformer, source_length=13, target_length=10, width=60, heads=4, hidden=150, batch=2
    ),
    "bert": partial(make_bert, length=11, layers=2, width=60, heads=3, batch=2),
}

CIFAR: Mapping[str, MakeModel] = {
    "resnet18": partial(make_resnet, "resnet18", size=32, classes=10),
    "resnet50": partial(make_resnet, "resnet50", size=32, classes=10),
    "mobilenet_v1": partial(make_mobilenet_v1, size=32, classes=10),
    "mobilenet_v2": partial(make_mobilenet_v2, size=32, classes=10),
    "vgg16": partial(make_vgg16, size=32, classes=10),
    "densenet121": partial(make_densenet121, size=32, classes=10),
}

FULL: Mapping[str, MakeModel] = {
    "resnet18": partial(make_resnet, "resnet18"),
    "resnet50": partial(make_resnet, "resnet50"),
    "mobilenet_v1": make_mobilenet_v1,
    "mobilenet_v2": make_mobilenet_v2,
    "vgg16": make_vgg16,
    "densenet121": make_densenet121,
    "transformer": make_transformer,
    "bert": partial(make_bert, length=128, layers=4, width=768, heads=12),
}
