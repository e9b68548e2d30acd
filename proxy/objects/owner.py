"""From what is known of the ids of a request to who may serve it, or the refusal (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from proxy.objects.kinds import Account, is_id
from proxy.objects.references import Reference
from proxy.wire.refusals import Reason, Refused


class Known(NamedTuple):
    """What is known of one id: the accounts at which the caller's workspace has it, newest first; and whether another
    workspace has it on our account.
    """

    accounts: tuple[Account, ...] = ()
    is_foreign: bool = False


class Owner(NamedTuple):
    """The accounts that hold all that a request refers to, newest first; nearly always one."""

    accounts: tuple[Account, ...]


def decide(references: Iterable[Reference], known: Callable[[Reference], Known]) -> Owner | None:
    """None: nothing ties the request to an account. Raises `Refused`: 404 for an id that is not the caller's."""
    accounts: tuple[Account, ...] | None = None
    tied: Reference | None = None
    for reference in references:
        found = known(reference) if is_id(reference.id) else Known()
        if reference.inline:
            # What it names stands beside it: only another workspace's is kept from a provider that might look it up.
            if found.is_foreign and not found.accounts:
                raise not_found(reference)
            continue
        if not found.accounts:
            raise not_found(reference)
        shared = found.accounts if accounts is None else _both(accounts, found.accounts)
        if not shared:
            assert tied is not None
            raise _apart(tied, reference)
        accounts, tied = shared, tied or reference
    return None if accounts is None else Owner(accounts)


def reachable(owner: Owner, references: Sequence[Reference], may_use: Callable[[Account], bool]) -> Owner:
    """The accounts whose credential the caller may use. What lies at another user's own key only, or at one that is deleted, is
    as absent as what nobody has: raises `Refused` (404).
    """
    accounts = tuple(account for account in owner.accounts if may_use(account))
    if not accounts:
        raise not_found(next(reference for reference in references if not reference.inline))
    return Owner(accounts)


def _both(some: Sequence[Account], others: Sequence[Account]) -> tuple[Account, ...]:
    return tuple(account for account in some if account in others)


def not_found(reference: Reference) -> Refused:
    """The same words for another's id and for nobody's."""
    named = f" `{reference.id}`" if is_id(reference.id) else ""
    is_previous = reference.kind == "response" and reference.param == "previous_response_id"
    return Refused(
        Reason.PREVIOUS_RESPONSE_NOT_FOUND if is_previous else Reason.NOT_FOUND,
        f"No {reference.kind.replace('_', ' ')}{named} was found. This gateway knows the objects that this workspace has "
        "created through it.",
        param=reference.param,
    )


def _apart(one: Reference, other: Reference) -> Refused:
    return Refused(
        Reason.BAD_VALUE,
        f"`{one.id}` and `{other.id}` lie at different providers or provider accounts: no single one has both.",
        param=other.param,
    )
