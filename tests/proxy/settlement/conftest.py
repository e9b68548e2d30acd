from tests.held import bus, holds, seeded, seen
from tests.line import line
from tests.own_valkey import own_valkey

__all__ = ["bus", "holds", "line", "own_valkey", "seeded", "seen"]
