"""Models of the comparison without their weights: shapes, as external data that are nowhere.

python -m models.weightless -o flexc/analysis/comparison/zoo
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path

import click
import onnx

from models.make_densenet import make_densenet121
from models.make_mobilenet import make_mobilenet_v1, make_mobilenet_v2
from models.make_resnet import make_resnet
from models.make_transformer import make_transformer
from models.make_vgg import make_vgg16

BATCH = 64
NOWHERE = "no-weights"
MakeModel = Callable[..., onnx.ModelProto]
NETWORKS: Mapping[str, MakeModel] = {
    "resnet18": partial(make_resnet, "resnet18"),
    "resnet50": partial(make_resnet, "resnet50"),
    "vgg16": make_vgg16,
    "mobilenet_v1": make_mobilenet_v1,
    "mobilenet_v2": make_mobilenet_v2,
    "densenet121": make_densenet121,
}
SIZES = {"imagenet": (224, 1000), "cifar": (32, 10)}


def weightless(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, changed in place: floating-point initializers of more than one element lose their data."""
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and prod(tensor.dims) > 1:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", NOWHERE
    return model


def makers() -> dict[str, Callable[[], onnx.ModelProto]]:
    """Every model of the comparison by the name of its file."""
    found: dict[str, Callable[[], onnx.ModelProto]] = {
        f"{name}-{images}": partial(make, batch=BATCH, size=size, classes=classes)
        for images, (size, classes) in SIZES.items()
        for name, make in NETWORKS.items()
    }
    return {**found, "transformer": partial(make_transformer, batch=BATCH)}


@click.command(help=__doc__)
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), required=True)
def main(output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    for name, make in makers().items():
        path = output / f"{name}.onnx"
        path.write_bytes(weightless(make()).SerializeToString())
        click.echo(f"{path}: {path.stat().st_size / 2**10:.1f} KiB")


if __name__ == "__main__":
    main()
