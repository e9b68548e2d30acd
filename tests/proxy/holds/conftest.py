from tests.held import bus, holds, seeded, seen
from tests.line import line
from tests.own_valkey import own_valkey
from tests.upstream.plugin import upstream_certificate

__all__ = ["bus", "holds", "line", "own_valkey", "seeded", "seen", "upstream_certificate"]
