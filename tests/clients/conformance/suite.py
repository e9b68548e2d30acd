"""openai-python's own tests, from its source distribution, and the mock of OpenAI's API that they run against."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.wire.moderations_body import DEFAULT_MODEL
from tests.clients.environments import LOCKS
from tests.clients.matrix import ENVIRONMENTS, NODE, ROOT
from tests.promises.house import free_port

ENVIRONMENT = "conformance"
HOME = ENVIRONMENTS / ENVIRONMENT
SUITE = HOME / "suite"
SPEC_DEFAULT = ROOT.parent / "shared" / "specs" / "openai.openapi.yml"
KEY = "My API Key"  # what the suite sends
# As the suite's own script starts its mock: scripts/mock.
_FORMATS = [f"--validator-{part}-{kind}-format=brackets" for part in ("query", "form") for kind in ("array", "object")]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`calls`: method, path below the base URL, status."""

    outcome: str
    calls: tuple[tuple[str, str, int], ...]
    reason: str

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


def spec() -> Path:
    path = Path(os.environ.get("OPENAI_SPEC") or SPEC_DEFAULT)
    if not path.is_file():
        sys.exit(
            f"OpenAI's OpenAPI document is not at {path}. It is no part of this project: get openapi.yml of the repository "
            "openai/openai-openapi, or the one that openai-python names, and say OPENAI_SPEC=/path/to/it"
        )
    return path


def unpack() -> None:
    """The tests of the locked version, beside its installed wheel; made anew with the environment."""
    if SUITE.exists():
        return
    lock = (LOCKS / f"{ENVIRONMENT}.txt").read_text()
    entry = re.search(r"^openai==(?:.|\n)*?(?=\n    # via)", lock, re.MULTILINE)
    assert entry is not None, "the lock does not name openai"
    fetched = HOME / "fetched"
    shutil.rmtree(fetched, ignore_errors=True)
    fetched.mkdir()
    (fetched / "openai.txt").write_text(entry[0] + "\n")
    pip = [
        str(HOME / "bin" / "python"),
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        "openai",
        "--no-build-isolation",
    ]
    done = subprocess.run(
        [*pip, "--require-hashes", "-d", str(fetched), "-r", str(fetched / "openai.txt")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}\nthe source distribution of openai could not be fetched")
    (archive,) = fetched.glob("openai-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(fetched, filter="data")
    (unpacked,) = (path for path in fetched.iterdir() if path.is_dir())
    shutil.rmtree(unpacked / "src")  # the installed one is tested
    conftest = unpacked / "tests" / "conftest.py"
    text = conftest.read_text()
    assert text.count(f'\napi_key = "{KEY}"\n') == 1
    # the one line that differs: a gateway's key instead of a word that only a mock takes
    conftest.write_text(text.replace(f'\napi_key = "{KEY}"\n', '\napi_key = os.environ["TEST_API_KEY"]\n'))
    unpacked.rename(SUITE)


@contextlib.contextmanager
def mock(folder: Path, spec: Path) -> Iterator[str]:
    """Its base URL."""
    port = free_port()
    steady = ENVIRONMENTS / NODE / "app" / "node_modules" / ".bin" / "steady"
    argv = [
        str(ENVIRONMENTS / NODE / "bin" / "node"),
        str(steady),
        "--host",
        "127.0.0.1",
        "-p",
        str(port),
        "-q",
        *_FORMATS,
        str(spec),
    ]
    log = folder / "mock.log"
    with log.open("wb") as out:
        # node is a script that starts node, and steady one that starts steady: they are ended as a group
        process = subprocess.Popen(argv, stdout=out, stderr=out, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while True:
            assert process.poll() is None, f"the mock ended:\n{log.read_text()[-3000:]}"
            assert time.monotonic() < until, f"the mock is not up within 60 s:\n{log.read_text()[-3000:]}"
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_x-steady/health", timeout=2),
            ):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def models() -> list[str]:
    """Every llm that the suite names, and the one that it leaves unnamed."""
    found = {DEFAULT_MODEL}
    for path in (SUITE / "tests" / "api_resources").rglob("*.py"):
        found |= set(re.findall(r'\bmodel="([^"]+)"', path.read_text()))
    return sorted(found)


def run(
    base_url: str, key: str, record: Path, arguments: list[str], only: list[str] | None = None
) -> dict[str, Outcome]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "PYTHON"))}
    env |= {"TEST_API_BASE_URL": base_url, "TEST_API_KEY": key, "RECORD_TO": str(record), "DEFER_PYDANTIC_BUILD": "false",
            "PYTHONPATH": str(Path(__file__).parent)}  # fmt: skip
    if only is not None:
        names = record.with_suffix(".only")
        names.write_text("\n".join(only))
        env["RUN_ONLY"] = str(names)
    argv = [str(HOME / "bin" / "python"), "-m", "pytest", "tests/api_resources", "-n", "2", "-q", "-p", "record_calls", "--tb=no",
            "--no-header", "-p", "no:cacheprovider", "--durations=0", "--durations-min=10", "--no-summary", *arguments]  # fmt: skip
    done = subprocess.run(
        argv, cwd=SUITE, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode > 1 or not record.exists():
        sys.exit(f"{done.stdout[-4000:]}\nthe suite could not be run")
    base = urllib.parse.urlsplit(base_url).path
    found: dict[str, Outcome] = {}
    for line in record.read_text().splitlines():
        told = json.loads(line)
        calls = tuple((method, path.removeprefix(base), status) for method, path, status in told["calls"])
        found[told["test"]] = Outcome(told["outcome"], calls, told["reason"])
    return found
