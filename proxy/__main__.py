"""`synapscale` and `python -m proxy`."""

from __future__ import annotations

import sys


def main() -> None:
    from proxy.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
