from tests.upstream.plugin import upstream_certificate

__all__ = ["upstream_certificate"]
