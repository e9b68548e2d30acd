"""What ties a request to one account at a provider, and what its answer will leave there (responses, files, …)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from proxy.flow.candidates import Candidate
from proxy.identity.principal import Principal
from proxy.objects.kinds import Account, Minted
from proxy.objects.minted import SURFACES, StreamMints, chat_may_mint, minted
from proxy.objects.objects import Objects
from proxy.objects.owner import reachable
from proxy.objects.references import may_refer, references
from proxy.wire.ids import NIL
from proxy.wire.refusals import Reason, Refused

# Surfaces whose items have ids of their own.
_WITH_ITEMS = frozenset(["responses"])
_OWN_ID = re.compile(rb'\s*\{\s*"id"\s*:\s*"([A-Za-z0-9][A-Za-z0-9_.:-]{0,254}[A-Za-z0-9_-])"')


class Ties(NamedTuple):
    """`accounts`: where all lies that the request refers to; None: it may go anywhere. `mints`: its answer brings ids.
    `lasting`: into a conversation, which stays.
    """

    accounts: tuple[Account, ...] | None = None
    mints: bool = False
    lasting: bool = False

    def allow(self, way: Candidate) -> bool:
        return self.accounts is None or account_of(way) in self.accounts


FREE = Ties()


def account_of(way: Candidate) -> Account:
    return Account(way.route.provider.name, NIL if way.own is None else way.own.user_variable_id)


def may_use(principal: Principal, account: Account) -> bool:
    """Whether the caller's requests may be sent with the credential of an account."""
    if account.user_variable_id == NIL:
        return principal.key_policy != "own_only"
    own = {own.user_variable_id for own in principal.own_credentials}
    return principal.key_policy != "global_only" and account.user_variable_id in own


def may_tie(surface: str, raw: bytes) -> bool:
    """Whether `tie` has to be asked: nearly never for chat, whose bodies are looked at for 0.5 ns per byte."""
    return surface in _WITH_ITEMS or may_refer(raw) or (surface == "chat" and chat_may_mint(raw))


async def tie(objects: Objects, principal: Principal, surface: str, raw: bytes) -> Ties:
    """Raises `Refused`: 404 for what is not the caller's, 503 where nobody knows."""
    named = references(raw, items=surface in _WITH_ITEMS)
    mints = surface in _WITH_ITEMS or (surface == "chat" and chat_may_mint(raw))
    if mints:
        objects.require_room()
    owner = await objects.owner_of(principal.workspace_id, named)
    if owner is not None:
        owner = reachable(owner, named, lambda account: may_use(principal, account))
    is_lasting = any(reference.kind == "conversation" for reference in named)
    return Ties(None if owner is None else owner.accounts, mints, is_lasting)


def not_there(llm: str) -> Refused:
    return Refused(
        Reason.BAD_VALUE,
        f"What the request refers to lies at a provider account that does not serve `{llm[:200]}`. Use the llm that it was "
        "made with.",
        param="model",
    )


class Mints:
    """The ids that one attempt's answer brings: recorded before the client sees them."""

    __slots__ = ("_account", "_has_begun", "_lasting", "_objects", "_stream", "_surface", "_workspace_id")

    def __init__(self, objects: Objects, principal: Principal, way: Candidate, surface: str, *, lasting: bool) -> None:
        self._objects = objects
        self._workspace_id = principal.workspace_id
        self._account = account_of(way)
        self._surface = surface
        self._lasting = lasting
        self._stream = StreamMints(lasting=lasting)
        self._has_begun = False

    def see(self, block: bytes) -> list[Minted]:
        """Of whole frames that are about to pass: what must be recorded before they do."""
        return self._stream.see(block)

    def of_end(self, held: bytes) -> list[Minted]:
        """Of the frames that end a stream, and what was put off until then."""
        return [*self._stream.see(held), *self._stream.finish()]

    def of_body(self, body: bytes) -> list[Minted]:
        return minted(body, surface=self._surface, lasting=self._lasting)

    def of_unread(self, piece: bytes) -> list[Minted]:
        """Of a body too large to hold, or compressed, piece by piece: the object's own id, where it begins with it."""
        if self._has_begun:
            return []
        self._has_begun = True
        begins = _OWN_ID.match(piece)
        kind = SURFACES.get(self._surface, "completion")
        return [] if begins is None else [Minted(kind, begins[1].decode(), lasting=self._lasting)]

    async def record(self, found: Iterable[Minted]) -> None:
        """Raises `Refused` where they cannot be kept: the client must then not see them."""
        await self._objects.record(self._workspace_id, self._account, found)
