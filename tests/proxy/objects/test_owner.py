from __future__ import annotations

from uuid import UUID

import pytest

from proxy.objects.kinds import Account
from proxy.objects.owner import Known, Owner, decide, not_found, reachable
from proxy.objects.references import Reference
from proxy.wire.refusals import Reason, Refused

OURS, OWN, AZURE = Account("openai"), Account("openai", UUID(int=1)), Account("azure")
A, B, INLINE = Reference("file", "a", "x"), Reference("file", "b", "y"), Reference("item", "i", "z", inline=True)


def test_all_that_is_named_lies_at_one_account() -> None:
    known = {A: Known((OURS, OWN, AZURE)), B: Known((AZURE, OWN)), INLINE: Known()}
    assert decide([A, B, INLINE], known.__getitem__) == Owner((OWN, AZURE))
    assert decide([INLINE], known.__getitem__) is None


def test_an_id_that_cannot_be_one_is_not_even_looked_for() -> None:
    def known(reference: Reference) -> Known:
        raise AssertionError(reference)

    with pytest.raises(Refused) as refused:
        decide([Reference("file", "a\0b", "file_id")], known)
    assert refused.value.reason is Reason.NOT_FOUND
    assert "a" + chr(0) not in refused.value.message


def test_a_credential_that_the_caller_may_not_use_hides_what_lies_there() -> None:
    assert reachable(Owner((OWN, OURS)), [INLINE, A], lambda account: account == OURS) == Owner((OURS,))
    with pytest.raises(Refused) as refused:
        reachable(Owner((OWN,)), [INLINE, A], lambda account: account == OURS)
    assert (refused.value.status, refused.value.param) == (404, "x")


def test_a_previous_response_has_a_code_of_its_own() -> None:
    """OpenAI's, by which SDKs know to send the whole conversation again."""
    assert (
        not_found(Reference("response", "resp_1", "previous_response_id")).reason is Reason.PREVIOUS_RESPONSE_NOT_FOUND
    )
    assert not_found(Reference("response", "resp_1", "response_id")).reason is Reason.NOT_FOUND
