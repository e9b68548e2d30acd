from __future__ import annotations

from uuid import UUID

from proxy.objects.kinds import Account, is_id, shaped
from proxy.objects.memory import UNKNOWN_FOR_MS, UNKNOWN_INLINE_FOR_MS, Memory
from proxy.objects.owner import Known
from proxy.objects.references import Reference

ONE, TWO = UUID(int=1), UUID(int=2)
OURS = Account("openai")


def test_it_is_bounded_and_the_least_used_goes_first() -> None:
    memory = Memory(3)
    for id in ("a", "b", "c"):
        memory.add(ONE, "file", id, OURS, 0)
    assert memory.get(ONE, Reference("file", "a", ""), 0) == Known((OURS,))
    memory.add(ONE, "file", "d", OURS, 0)
    assert [memory.get(ONE, Reference("file", id, ""), 0) is not None for id in "abcd"] == [True, False, True, True]
    assert len(memory) == 3


def test_what_it_knows_of_one_workspace_it_does_not_say_to_another() -> None:
    memory = Memory(3)
    memory.add(ONE, "file", "a", OURS, 0)
    assert memory.get(TWO, Reference("file", "a", ""), 0) is None
    memory.drop(TWO, "file", "a", OURS)
    assert memory.accounts(ONE, "file", "a") == (OURS,)


def test_unknown_is_believed_for_a_while_and_known_for_good() -> None:
    memory = Memory(3)
    memory.put(ONE, "item", "a", Known(), 0, 0)
    plain, inline = Reference("item", "a", ""), Reference("item", "a", "", inline=True)
    assert memory.get(ONE, plain, UNKNOWN_FOR_MS - 1) == Known()
    assert memory.get(ONE, plain, UNKNOWN_FOR_MS) is None
    assert memory.get(ONE, inline, UNKNOWN_INLINE_FOR_MS - 1) == Known()
    assert memory.get(ONE, inline, UNKNOWN_INLINE_FOR_MS) is None
    memory.add(ONE, "item", "a", OURS, 0)
    assert memory.get(ONE, plain, 1 << 50) == Known((OURS,))


def test_one_account_is_dropped_and_the_other_stays() -> None:
    memory = Memory(3)
    for account in (OURS, Account("azure")):
        memory.add(ONE, "file", "a", account, 0)
    memory.drop(ONE, "file", "a", OURS)
    assert memory.accounts(ONE, "file", "a") == (Account("azure"),)
    memory.drop(ONE, "file", "a", Account("azure"))
    assert memory.get(ONE, Reference("file", "a", ""), 0) is None


def test_a_use_is_worth_a_note_once_an_hour() -> None:
    memory = Memory(3)
    memory.add(ONE, "file", "a", OURS, 0)
    assert [memory.used(ONE, "file", "a", at, 100) for at in (50, 100, 150, 199, 200)] == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert not memory.used(ONE, "file", "b", 500, 100)


def test_ids_by_their_look() -> None:
    assert shaped("resp_0ee665a65cc07abb0068f966ccd6648197b6c0608c0f3efecc") == "response"
    assert shaped("file-6F2ksmvXxt4VdoqmHRw6kL") == "file"
    for word in ("file_search_call", "run_database_query_number_12345", "resp_short1", "file-abcdefghijklmnopqrstuvw"):
        assert shaped(word) is None
    for text, good in (("a", True), ("9b1d-_.:x", True), ("", False), ("a b", False), ("-a", False), ("a.", False),
                       ("a" * 256, True), ("a" * 257, False), ("é", False), ("a\n", False)):  # fmt: skip
        assert is_id(text) is good, text
