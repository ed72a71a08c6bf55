"""The figures of docs/data/peers from what ZigZag leaves in its dump folder, a JSON file a layer.

python -m benchmarks.zigzag_csv DUMP > docs/data/peers/zigzag_3.9.1_resnet18_tpu_like.csv
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import click

SIZES = {
    "outputs": "K",
    "channels": "C",
    "rows": "OY",
    "columns": "OX",
    "filter_rows": "FY",
    "filter_columns": "FX",
}
CYCLES = {
    "onloading_cycles": "data_onloading",
    "computation_cycles": "computation",
    "offloading_cycles": "data_offloading",
}
ENERGIES = ("mac_pj", "register_pj", "sram_pj", "dram_pj")


def row_of(layer: dict[str, Any], outputs: dict[str, Any]) -> dict[str, object]:
    """One layer: extents, cycles of its three parts, energy by level."""
    extents, relations = layer["loop_dimensions"], layer["equation_relations"]
    levels = outputs["energy"]["memory_energy_breakdown_per_level"]
    o, w, i = levels["O"], levels["W"], levels["I"]
    energies = (outputs["energy"]["operational_energy"], o[0] + w[0], o[1] + i[0], o[2] + i[1] + w[1])
    return {
        "layer": layer["name"].strip("/"),
        **{name: extents.get(dim, 1) for name, dim in SIZES.items()},
        "stride": int(relations[0].split("=")[1].split("*")[0]) if relations else 1,
        **{name: int(outputs["latency"][part]) for name, part in CYCLES.items()},
        **{name: round(energy, 2) for name, energy in zip(ENERGIES, energies, strict=True)},
    }


@click.command(help=__doc__)
@click.argument("dump", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(dump: Path) -> None:
    files = sorted(dump.glob("*_complete.json"), key=lambda file: file.stat().st_mtime)
    found = [json.loads(file.read_text()) for file in files]
    rows = [row_of(each["inputs"]["layer"], each["outputs"]) for each in found]
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


if __name__ == "__main__":
    main()
