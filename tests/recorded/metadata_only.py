"""In the place of a build backend: pip asks it for what a source distribution says of itself, and gets what lies in it.

So nothing of a source distribution is run, nothing is built, and no build tools are fetched. Standard library only.
"""

from __future__ import annotations

import email
from pathlib import Path


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: object = None) -> str:
    """PEP 517; called in the unpacked source distribution."""
    text = Path("PKG-INFO").read_text("utf-8")
    says = email.message_from_string(text)
    folder = Path(metadata_directory) / f"{says['Name'].replace('-', '_')}-{says['Version']}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(text, "utf-8")
    return folder.name
