"""What children get of our environment: what is named here or by the caller, nothing that happens to be there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

NAMES = frozenset(
    {
        *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV", "NO_COLOR"),
        *("PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    }
)
PREFIXES = ("SYNAPSCALE_",)
ONLY_FOR_US = frozenset({"SYNAPSCALE_ADMIN_KEY"})  # read once, by `serve` itself, before anything is forked


def clean_environment(source: Mapping[str, str], *, also: Iterable[str] = ()) -> dict[str, str]:
    """`also`: further names, such as those of the provider keys that config.yaml asks for."""
    wanted = NAMES | set(also)
    found = {name: value for name, value in source.items() if name in wanted or name.startswith(PREFIXES)}
    return {name: value for name, value in found.items() if name not in ONLY_FOR_US}
