"""How long ZigZag, SCALE-Sim and flexc take for ResNet-18, each as one process, one after the other.

python -m benchmarks.peers FOLDER [--peer zigzag] [--peer scalesim]

FOLDER gets a virtual environment for each peer (pip install) and what it writes. What each computes:

- ZigZag searches temporal mappings of 21 layers on its 32 x 32 `tpu_like` array: latency and energy.
- SCALE-Sim walks every cycle of 21 layers on a 32 x 32 weight-stationary array, with demands on its buffers.
- flexc searches mappings of all layers on `flexblock`, with cores, tiles, loop orders and the uses of PEs:
  cycles, bytes and energy of each, and of the ops between; the cache of mappings is empty, imports count. For
  SCALE-Sim it also gives the same cycles as SCALE-Sim for the same array (tests), in the second figure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from flexc.analysis.comparison.manifest import ZOO
from tests.peer_data import scalesim_layers

REQUIREMENTS = {
    "zigzag": ("zigzag-dse==3.9.1", "six", "numpy<2.4"),
    "scalesim": ("scalesim==3.0.0", "numpy<2.4"),
}
RUN_FLEXC = "from flexc.cli import main; main()"
RUN_ZIGZAG = """
import sys, zigzag
from pathlib import Path
from zigzag.api import get_hardware_performance_zigzag
inputs, dump = Path(zigzag.__file__).parent / "inputs", sys.argv[1]
get_hardware_performance_zigzag(
    workload=str(inputs / "workload/resnet18.onnx"), accelerator=str(inputs / "hardware/tpu_like.yaml"),
    mapping=str(inputs / "mapping/tpu_like.yaml"), opt="latency", lpf_limit=6, dump_folder=dump,
    pickle_filename=dump + "/found.pickle", loma_show_progress_bar=False)
"""
RUN_SCALESIM = """
import sys
from scalesim.scale_sim import scalesim
config, topology, layout, out = sys.argv[1:]
scalesim(save_disk_space=True, verbose=False, config=config, topology=topology, layout=layout,
         input_type_gemm=False).run_scale(top_path=out)
"""
SCALESIM_CONFIG = """
[general]
run_name = resnet18
[architecture_presets]
ArrayHeight = 32
ArrayWidth = 32
IfmapSramSzkB = 64
FilterSramSzkB = 64
OfmapSramSzkB = 64
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Bandwidth = 10
Dataflow = ws
MemoryBanks = 1
ReadRequestBuffer = 512
WriteRequestBuffer = 512
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
SparseRep = ellpack_block
OptimizedMapping = false
BlockSize = 8
RandomNumberGeneratorSeed = 40
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


def python_of(folder: Path, peer: str) -> Path:
    """The interpreter of a peer's environment, which is made where it is not there."""
    environment = folder / peer
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *REQUIREMENTS[peer]], check=True)
    return python


def seconds_of(command: Sequence[str], **environment: str) -> float:
    """Wall-clock seconds of a process; its output is thrown away, an error is not."""
    start = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    return time.perf_counter() - start


def zigzag_seconds(folder: Path) -> float:
    """ZigZag on its bundled ResNet-18."""
    return seconds_of([str(python_of(folder, "zigzag")), "-c", RUN_ZIGZAG, str(folder / "zigzag_dump")])


def scalesim_seconds(folder: Path) -> float:
    """SCALE-Sim on its ResNet-18."""
    config, topology, layout = (folder / name for name in ("ws.cfg", "resnet18.csv", "layout.csv"))
    config.write_text(SCALESIM_CONFIG)
    columns = (
        "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
    )
    rows = [
        ", ".join(map(str, (one.name, *one.ifmap, *one.filter, one.channels, one.filters, one.stride))) + ","
        for one in scalesim_layers()
    ]
    topology.write_text("\n".join([columns, *rows]) + "\n")
    layout.write_text("\n")
    python = python_of(folder, "scalesim")
    files = (config, topology, layout, folder / "scalesim_out")
    return seconds_of([str(python), "-c", RUN_SCALESIM, *map(str, files)])


def flexc_seconds() -> float:
    """The estimate of ResNet-18, inference, one image's layers at batch 64, by an empty cache."""
    model = ZOO / "resnet18-imagenet.onnx"
    with tempfile.TemporaryDirectory() as cache:
        return seconds_of(
            [
                sys.executable,
                "-c",
                RUN_FLEXC,
                "compare",
                str(model),
                "--targets",
                "flexblock",
                "--no-weights",
            ],
            FLEXC_CACHE_DIR=cache,
        )


PEERS = {"zigzag": zigzag_seconds, "scalesim": scalesim_seconds}


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--peer", "peers", multiple=True, type=click.Choice(sorted(PEERS)), default=tuple(PEERS))
def main(folder: Path, peers: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for peer in peers:
        python_of(folder, peer)
    ours = flexc_seconds()
    click.echo(f"{'flexc':10} {ours:9.2f} s")
    for peer in peers:
        theirs = PEERS[peer](folder)
        click.echo(f"{peer:10} {theirs:9.2f} s  {theirs / ours:7.1f} times flexc")


if __name__ == "__main__":
    main()
