"""A backup's file: a tar whose first member says what the others are. Written whole or not at all, 0600.

manifest.json   `Manifest`
postgres.dump   pg_dump, custom format
valkey/…        the append-only files, if Valkey was embedded
spool/…         events that Redis had not acknowledged
keys/…          only where they were asked for
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec

from proxy.storage.embedded.problem import StoreProblem

FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_MAX_BYTES = 4 << 20
COPY_BYTES = 1 << 20


class Content(msgspec.Struct, frozen=True):
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """`files` by member name. `valkey` False: it was another's, and what waited in it is not here."""

    format: int
    synapscale: str
    created_at: str
    postgres: str
    valkey: bool
    files: dict[str, Content]


def write(target: Path, folder: Path, *, synapscale: str, created_at: datetime, postgres: str, valkey: bool) -> Manifest:
    """Everything below `folder`. Raises FileExistsError where there is a `target`."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = {name: _content(folder / name) for name in names}
    manifest = Manifest(FORMAT, synapscale, created_at.isoformat(timespec="seconds"), postgres, valkey, files)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as out:
            with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
                text = msgspec.json.format(msgspec.json.encode(manifest))
                _add(tar, MANIFEST, io.BytesIO(text), len(text), created_at)
                for name, content in files.items():
                    with (folder / name).open("rb") as file:
                        _add(tar, name, file, content.size, created_at)
            out.flush()
            os.fsync(out.fileno())
        os.link(draft, target)  # never over another's
    finally:
        draft.unlink(missing_ok=True)
    _sync(target.parent)
    return manifest


class Archive:
    """One that is opened for reading. Nothing of it is believed before its digest was compared."""

    def __init__(self, tar: tarfile.TarFile, path: Path) -> None:
        self._tar = tar
        self._path = path
        first = tar.next()
        if first is None or first.name != MANIFEST or first.size > MANIFEST_MAX_BYTES or (file := tar.extractfile(first)) is None:
            raise StoreProblem(f"{path} is no backup of synapscale.")
        try:
            self.manifest = msgspec.json.decode(file.read(), type=Manifest)
        except msgspec.MsgspecError:
            raise StoreProblem(f"{path} is no backup of synapscale: its manifest cannot be read.") from None
        if self.manifest.format != FORMAT:
            raise StoreProblem(
                f"{path} has format {self.manifest.format}; this version reads {FORMAT}. It was written by synapscale "
                f"{self.manifest.synapscale}: restore it with that version."
            )

    def unpack(self, folder: Path) -> None:
        """All that the manifest names, nothing else, into an empty folder. Raises `StoreProblem` where a byte differs."""
        wanted = dict(self.manifest.files)
        while (member := self._tar.next()) is not None:
            content = wanted.pop(member.name, None)
            if content is None or not member.isreg() or not _inside(member.name):
                raise StoreProblem(f"{self._path} holds {member.name!r}, which its manifest does not name: it was changed.")
            source = self._tar.extractfile(member)
            assert source is not None
            path = folder / member.name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                digest = hashlib.sha256()
                while data := source.read(COPY_BYTES):
                    digest.update(data)
                    out.write(data)
                out.flush()
                os.fsync(out.fileno())
            if Content(path.stat().st_size, digest.hexdigest()) != content:
                raise StoreProblem(f"{self._path} is damaged: {member.name} is not what was backed up.")
        if wanted:
            raise StoreProblem(f"{self._path} is cut short: it lacks {', '.join(sorted(wanted))}.")


@contextmanager
def read(path: Path) -> Iterator[Archive]:
    try:
        with tarfile.open(path, mode="r:") as tar:
            yield Archive(tar, path)
    except tarfile.TarError as error:
        raise StoreProblem(f"{path} is no backup of synapscale, or is damaged: {error}.") from None


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _add(tar: tarfile.TarFile, name: str, file: BinaryIO, size: int, at: datetime) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(at.timestamp())
    tar.addfile(info, file)


def _content(path: Path) -> Content:
    with path.open("rb") as file:
        return Content(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
