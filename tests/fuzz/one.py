"""One target under libFuzzer: `python -m tests.fuzz.one TARGET [libFuzzer's arguments]`, in the environment of `make fuzz`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["proxy", "pricing"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    _, name, *arguments = sys.argv
    atheris.Setup([name, *arguments], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
