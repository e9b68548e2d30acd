"""The surfaces that take a body and are metered: their paths, and who reads their bodies."""

from __future__ import annotations

from collections.abc import Callable

from proxy.ingress.surface import Surface
from proxy.wire.body_fields import BodyFields
from proxy.wire.chat_body import read_chat_body
from proxy.wire.completions_body import read_completions_body
from proxy.wire.embeddings_body import read_embeddings_body
from proxy.wire.moderations_body import read_moderations_body
from proxy.wire.refusals import Reason, Refused
from proxy.wire.responses_body import read_responses_body


def _as_it_came(read: Callable[[bytes], BodyFields]) -> Callable[[bytes], tuple[BodyFields, bytes]]:
    return lambda raw: (read(raw), raw)


def _responses(raw: bytes) -> tuple[BodyFields, bytes]:
    fields = read_responses_body(raw)
    if fields.background:
        # Its usage is known only later, to whoever asks for it then: not metered is not served.
        raise Refused(
            Reason.BAD_VALUE, "`background` is not offered by this gateway. Send it without, or as false.", param="background"
        )
    return fields, raw


CHAT = Surface("chat", "/v1/chat/completions", _as_it_came(read_chat_body))
OTHERS = (
    Surface("responses", "/v1/responses", _responses),
    Surface("completions", "/v1/completions", _as_it_came(read_completions_body)),
    Surface("embeddings", "/v1/embeddings", _as_it_came(read_embeddings_body)),
    Surface("moderations", "/v1/moderations", read_moderations_body),
)
