"""`synapscale snippet`: text to paste, with this gateway's address in it."""

from __future__ import annotations

import difflib
import ipaddress
import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from proxy.cli.banner import ECHO
from proxy.cli.client import Connection
from proxy.cli.fault import USAGE, Fault
from proxy.cli.options import DEFAULT_DATA_DIR, CaFile, DataDir, Json, Url
from proxy.cli.output import Column, show_json, show_rows, talk
from proxy.cli.snippets import SNIPPETS, Snippet, filled
from proxy.cli.where import Gateway, gateway, virtual_key

COLUMNS = (Column("TOOL", "tool", whole=True), Column("WHAT", "what"))


def _tools(incomplete: str) -> list[str]:
    return [name for name in SNIPPETS if name.startswith(incomplete)]


def snippet(
    tool: Annotated[
        str | None, typer.Argument(help="For which tool. Without one they are listed.", autocompletion=_tools)
    ] = None,
    llm: Annotated[str, typer.Option("--llm", "--model", "-m", help="What the tool names as model.")] = ECHO,
    show_key: Annotated[
        bool, typer.Option("--show-key", help="Put the key of SYNAPSCALE_API_KEY itself into the text.")
    ] = False,
    url: Url = None, ca_file: CaFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """Print settings or a program for a tool, with this gateway's address. What to do with it is told on stderr."""
    if tool is None:
        rows = [{"tool": name, "what": each.what} for name, each in SNIPPETS.items()]
        show_rows(rows, COLUMNS, as_json=as_json, empty="")
        return
    if tool not in SNIPPETS:
        near = difflib.get_close_matches(tool, SNIPPETS, n=1)
        next_step = f"synapscale snippet {near[0]}" if near else "synapscale snippet"
        raise Fault(f"There is no snippet for {tool!r}.", next_step=next_step, code=USAGE)
    if not llm.isprintable() or any(mark in llm for mark in " \"'\\`$"):
        raise Fault(f"{llm!r} is no name of an llm.", next_step="synapscale llms list", code=USAGE)
    found, place = SNIPPETS[tool], gateway(url, ca_file, data_dir)
    text = filled(found, place.base, llm, virtual_key(data_dir) if show_key else None)
    notes = [found.where, *_notes(found, place)]
    if as_json:
        show_json({"tool": tool, "text": text, "notes": notes})
        return
    print(text, flush=True)
    for note in notes:
        talk(f"# {note}" if sys.stdout.isatty() else note)


def _notes(found: Snippet, place: Gateway) -> list[str]:
    notes = []
    if found.public and _is_private(place.base):
        notes.append(f"It is called from the tool's own servers: {place.base} cannot be reached from there.")
    if place.ca_file is not None:
        notes.append(
            f"The certificate is one of your own, and the tool must be told so: NODE_EXTRA_CA_CERTS={place.ca_file} (Node), "
            f"SSL_CERT_FILE={place.ca_file} (Python, curl)."
        )
    try:
        connection = Connection(place, None)
        try:
            answer = connection.send("GET", found.surface)
            answer.read()
        finally:
            connection.close()
    except (Fault, OSError):
        return notes  # the text is right although nothing runs there now
    # An endpoint that is there refuses GET with 405, before it asks for a key.
    if answer.status == 404:
        notes.append(f"This gateway does not serve {found.surface}, which the tool calls.")
    return notes


def _is_private(base: str) -> bool:
    host = urlsplit(base).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
