"""How large a request can turn out to be, from its bytes alone."""

from __future__ import annotations

# English prose in JSON is a little over four bytes a token in o200k_base; announcements need a figure, not a tokenizer.
BYTES_PER_TOKEN = 4


def prompt_estimate_tokens(raw_body: bytes) -> int:
    """What an abandoned attempt is billed for as input: nobody is left who could tell the real number."""
    return -(-len(raw_body) // BYTES_PER_TOKEN)
