"""``flexc assemble`` and ``flexc disassemble``: an instruction stream as text, and back."""

from __future__ import annotations

from pathlib import Path

import click

from flexc.backends.stream.assemble import assemble as assemble_text
from flexc.backends.stream.encode import encode, read_stream
from flexc.backends.stream.listing import disassemble as disassemble_stream
from flexc.backends.stream.listing import initial_bytes
from flexc.diagnostics import Place, error
from flexc.output_file import write_file


@click.command("assemble", short_help="Turn the listing of an instruction stream into its binary.")
@click.argument("listing", metavar="LISTING.s", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="STREAM.bin",
    type=click.Path(path_type=Path),
    help="File to write.",
)
def assemble(listing: Path, output: Path) -> None:
    """Assemble LISTING.s; the data files that it names are looked for beside it."""
    try:
        text = listing.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        raise error("FX534", f"the listing cannot be read: {failure}", place=Place(str(listing))) from failure
    binary = encode(assemble_text(text, listing.parent, str(listing)))
    write_file(output, lambda new: new.write_bytes(binary))
    click.echo(f"wrote {output}")


@click.command("disassemble", short_help="Turn the binary of an instruction stream into a listing.")
@click.argument("stream", metavar="STREAM.bin", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, metavar="LISTING.s", type=click.Path(path_type=Path),
    help="File to write; the initial data goes beside it, into LISTING.data.",
)  # fmt: skip
def disassemble(stream: Path, output: Path) -> None:
    """Disassemble STREAM.bin into a listing that `flexc assemble` turns into the same bytes."""
    found = read_stream(stream)
    data = output.with_suffix(".data")
    write_file(data, lambda new: new.write_bytes(initial_bytes(found)))
    write_file(output, lambda new: new.write_text(disassemble_stream(found, data.name), encoding="utf-8"))
    click.echo(f"wrote {output} and {data}")
