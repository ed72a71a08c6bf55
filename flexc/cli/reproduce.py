"""``flexc reproduce``: the published comparisons once more, from their manifests."""

from __future__ import annotations

import click

from flexc.cli.options import format_option, json_option, one_format
from flexc.cli.progress import working_on


@click.command("reproduce", short_help="Run a published comparison again.")
@click.argument("name", type=click.Choice(["flexblock", "lightnorm"]))
@click.option(
    "--iso", type=click.Choice(["datapath", "multipliers", "none"]),
    help="What is equal, instead of what the manifest says.",
)  # fmt: skip
@click.option(
    "--batchnorm", type=click.Choice(["fp32", "lightnorm"]),
    help="Batch norm on all sides, instead of the manifest's.",
)  # fmt: skip
@click.option("--no-ranges", is_flag=True, help="Leave out what other assumed values would give.")
@format_option("table", "markdown", "json")
@json_option
def reproduce(
    name: str, iso: str | None, batchnorm: str | None, no_ranges: bool, form: str | None, as_json: bool
) -> None:
    """Run the comparison NAME of docs/comparison.md exactly: models, targets and options of its manifest.

    `flexblock` sets training steps on FlexBlock beside other accelerators; `lightnorm` tells the share of
    batch norm in them, in fp32 and by LightNorm.

    \b
    Examples:
      flexc reproduce lightnorm
      flexc reproduce flexblock --format markdown
    """
    wanted = one_format(form, as_json)
    from dataclasses import replace

    from flexc.analysis.comparison.iso import Iso
    from flexc.analysis.comparison.manifest import load_manifest
    from flexc.analysis.comparison.run import compare
    from flexc.cli.compare import show
    from flexc.options import BatchNorm

    manifest = load_manifest(name)
    options = replace(
        manifest.options,
        ranges=manifest.options.ranges and not no_ranges,
        iso=manifest.options.iso if iso is None else Iso(iso),
        batchnorm=manifest.options.batchnorm if batchnorm is None else BatchNorm(batchnorm),
    )
    with working_on(f"reproduce {name}") as progress:
        found = compare(manifest.loads(), options, progress)
    show(found, wanted)
