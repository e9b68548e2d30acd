from tests.gateway import gateway
from tests.upstream.plugin import upstream

__all__ = ["gateway", "upstream"]
