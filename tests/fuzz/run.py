"""`make fuzz`: every target of targets.py under atheris, guided by what code its inputs reach.

What was found of interest is kept in .clients/fuzz-corpus, where the next run goes on. An input that breaks a promise is
written to .clients/fuzz-found/TARGET, and the exit status is 1: put it into SEEDS, so that `make test` knows it, and mend.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.clients import environments
from tests.clients.matrix import ENVIRONMENTS, ROOT
from tests.fuzz.seeds import SEEDS, WORDS
from tests.fuzz.targets import TARGETS

ENVIRONMENT = "fuzz"
CORPUS, FOUND = ENVIRONMENTS / "fuzz-corpus", ENVIRONMENTS / "fuzz-found"
_LIMITS = ("-max_len=4096", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=…", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="targets whose name contains it")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    options = parser.parse_args()
    names = [name for name in TARGETS if not options.only or any(text in name for text in options.only)]
    if not names:
        sys.exit(f"no such target. Targets: {', '.join(TARGETS)}")
    environments.ensure([ENVIRONMENT])
    failed = [name for name in names if not fuzz(name, options.seconds)]
    print(
        f"\n{len(names) - len(failed)} targets held, {len(failed)} did not{': ' if failed else '.'}{', '.join(failed)}"
    )
    return int(bool(failed))


def fuzz(name: str, seconds: int) -> bool:
    """Whether all that was tried kept what the target promises."""
    corpus, found = CORPUS / name, FOUND / name
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[name]:
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    command = [
        str(ENVIRONMENTS / ENVIRONMENT / "bin" / "python"), "-m", "tests.fuzz.one", name, str(corpus), *_LIMITS,
        f"-max_total_time={seconds}", f"-dict={dictionary()}", f"-artifact_prefix={found}/",
    ]  # fmt: skip
    # The gateway's own packages are those of the development environment; the other one adds atheris.
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{sysconfig.get_path('purelib')}"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, errors="replace", check=False)
    tried = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    reached = re.findall(r"cov: (\d+)", done.stderr)
    is_held = done.returncode == 0
    told = f"{int(tried[1]):,} inputs, {reached[-1]} places of the code" if tried and reached else "not begun"
    print(f"{'✓' if is_held else '✗'} {name}: {told}", flush=True)
    if not is_held:
        print(f"{done.stdout[-3000:]}{done.stderr[-3000:]}\n{name}: the input is in {found}", flush=True)
    return is_held


def dictionary() -> Path:
    """Words for libFuzzer, in its format."""
    path = CORPUS / "words.dict"
    path.write_text("".join('"{}"\n'.format("".join(f"\\x{byte:02x}" for byte in word)) for word in WORDS))
    return path


if __name__ == "__main__":
    sys.exit(main())
