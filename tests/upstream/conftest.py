from tests.upstream.plugin import tls_upstream, upstream, upstream_certificate

__all__ = ["tls_upstream", "upstream", "upstream_certificate"]
