"""What is owed for an attempt: on our account at the provider its list price, on the customer's own nothing."""

from __future__ import annotations

from collections.abc import Sequence


def charges(provider_account: str, line_list_pusd: Sequence[int]) -> list[int]:
    """The charge of each line, in pico-USD."""
    match provider_account:
        case "ours":
            return list(line_list_pusd)
        case "own":
            return [0] * len(line_list_pusd)
        case _:
            raise ValueError(f"provider_account is ours or own, not {provider_account!r}")
