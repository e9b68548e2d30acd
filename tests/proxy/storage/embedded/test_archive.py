"""A backup's file: what went in comes out, and nothing that was changed, cut or added does."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.storage.embedded import archive
from proxy.storage.embedded.archive import MANIFEST
from proxy.storage.embedded.problem import StoreProblem

FILES = {"postgres.dump": b"dump" * 1000, "spool/one.spool": b"line\n" * 30, "valkey/appendonlydir/a.aof": b""}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    for name, data in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    target = tmp_path / "a.backup"
    archive.write(target, source, synapscale="0.1.0", created_at=datetime.now(UTC), postgres="18.6", valkey=True)
    return target


def unpacked(file: Path) -> dict[str, bytes]:
    into = file.with_name("into")
    into.mkdir()
    with archive.read(file) as opened:
        opened.unpack(into)
    return {path.relative_to(into).as_posix(): path.read_bytes() for path in into.rglob("*") if path.is_file()}


def rewritten(file: Path, change: dict[str, bytes | None], *, kind: bytes = tarfile.REGTYPE) -> None:
    """Members replaced, added, or left out (None)."""
    with tarfile.open(file) as old:
        members = {each.name: old.extractfile(each).read() for each in old}  # type: ignore[union-attr]
    file.unlink()
    with tarfile.open(file, "w") as tar:
        for name, data in {**members, **change}.items():
            if data is None:
                continue
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if name in change:
                info.type, info.linkname = kind, "/etc/passwd"
                info.size = len(data) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(data))


def test_what_went_in_comes_out(file: Path) -> None:
    assert unpacked(file) == FILES
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []


def test_it_never_replaces_a_file(file: Path, tmp_path: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(FileExistsError):
        archive.write(file, tmp_path / "source", synapscale="1", created_at=datetime.now(UTC), postgres="18", valkey=True)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"spool/one.spool": b"linf\n" * 30}, tarfile.REGTYPE),
        ({"spool/one.spool": b"line\n" * 29}, tarfile.REGTYPE),
        ({"spool/one.spool": b""}, tarfile.SYMTYPE),
        ({"spool/one.spool": None}, tarfile.REGTYPE),
        ({"keys/master-key": b"another"}, tarfile.REGTYPE),
        ({"../outside": b"x"}, tarfile.REGTYPE),
        ({MANIFEST: b"{}"}, tarfile.REGTYPE),
        ({MANIFEST: b'{"format":2,"synapscale":"9","created_at":"","postgres":"","valkey":true,"files":{}}'}, tarfile.REGTYPE),
        ({MANIFEST: None}, tarfile.REGTYPE),
    ],
)
def test_what_was_changed_is_refused(file: Path, change: dict[str, bytes | None], kind: bytes) -> None:
    rewritten(file, change, kind=kind)
    with pytest.raises(StoreProblem):
        unpacked(file)
    assert not (file.parent / "outside").exists()


def test_a_manifest_that_names_a_place_outside_is_refused(file: Path) -> None:
    """Made with a digest that is right."""
    text = (
        b'{"format":1,"synapscale":"9","created_at":"","postgres":"","valkey":true,"files":{"../outside":{"size":0,'
        b'"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}}'
    )
    rewritten(file, {MANIFEST: text, **dict.fromkeys(FILES), "../outside": b""})
    with pytest.raises(StoreProblem):
        unpacked(file)
    assert not (file.parent / "outside").exists()
