"""``flexc conformance``: run a folder of vectors of the numerics specification."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from flexc.versioned_json import versioned_json

SCHEMA = "flexc.conformance"
SCHEMA_VERSION = 1


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print every outcome as JSON.")
@click.pass_context
def conformance(context: click.Context, folder: Path, as_json: bool) -> None:
    """Run every .npz vector in FOLDER and compare each byte.

    Exit status 0 only if there is a vector and all of them match.
    """
    from flexc.numerics.conformance import run_folder

    outcomes = run_folder(folder)
    failed = [outcome for outcome in outcomes if not outcome.matched]
    if as_json:
        report = {
            "matched": len(outcomes) - len(failed),
            "failed": len(failed),
            "outcomes": [asdict(outcome) for outcome in outcomes],
        }
        click.echo(versioned_json(SCHEMA, SCHEMA_VERSION, report), nl=False)
    else:
        for outcome in failed:
            click.echo(f"FAIL {outcome.file} ({outcome.op}): {outcome.failure}")
        click.echo(f"{len(outcomes) - len(failed)} of {len(outcomes)} vectors match")
    if not outcomes:
        click.echo(f"no .npz vector in {folder}", err=True)
    context.exit(0 if outcomes and not failed else 1)
