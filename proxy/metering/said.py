"""What an answer's text costs. Pure but for the tokenizer that it is given."""

from __future__ import annotations

from collections.abc import Callable

from proxy.metering.families import Family
from proxy.metering.output_text import ARGUMENTS, CALL
from proxy.metering.prompt import arguments_framing, scale


def output_tokens(said: str, family: Family, count: Callable[[str], int], *, forced: bool, around: int = 0) -> int:
    """`said`: of an `OutputText`. `forced`: the one function that had to be called was named: its name is not said.

    `around`: what a whole answer has around what can be seen.
    """
    if not said:
        return 0
    plain, *calls = said.split(CALL)
    scaled = count(plain) if plain else 0
    own = around
    for call in calls:
        name, _, arguments = call.partition(ARGUMENTS)
        if not (forced and len(calls) == 1):
            scaled += count(name)
        scaled += count(arguments) if arguments else 0
        own += arguments_framing(arguments, family)
    if len(calls) == 1:
        own += family.per_forced_call if forced else family.per_call
    else:
        own += len(calls) * family.per_parallel_call
    return scale(scaled, family.output_permille) + own
