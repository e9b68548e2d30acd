"""Where processes lay their metrics down, to be summed by whichever is asked."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from proxy.supervisor.problem import ServeProblem


def metrics_folder(data_dir: Path) -> Path:
    """Empty at every start: the files in it carry numbers of processes that are no more.

    It belongs to whom the data folder belongs to: after one start by root its owner must be able to empty it.
    """
    path = data_dir.absolute() / "metrics"
    try:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)
        os.mkdir(path, 0o700)
        owner = data_dir.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.chown(path, owner.st_uid, owner.st_gid)
    except PermissionError as error:
        raise ServeProblem(f"{path} belongs to another account and cannot be emptied: sudo rm -r {path}") from error
    return path
