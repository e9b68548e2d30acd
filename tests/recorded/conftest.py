from tests.upstream.plugin import upstream

__all__ = ["upstream"]
