"""The management API over HTTP, with the standard library only: commands must start fast."""

from __future__ import annotations

import http.client
import json
import ssl
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from proxy.cli.fault import FAILED, NOT_SIGNED_IN, USAGE, Fault
from proxy.cli.options import data_option
from proxy.cli.output import plain
from proxy.cli.where import Gateway
from proxy.cli.wording import for_commands

TIMEOUT_S = 60
PAGE = 100  # rows asked for at once


class Connection:
    """Bytes to one gateway. Redirects are not followed: a key goes only where its owner said."""

    def __init__(self, gateway: Gateway, key: str | None) -> None:
        self.base = base = gateway.base
        parts = urlsplit(base)
        self._path = parts.path
        self._key = key
        try:
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise Fault(f"{base!r} is no address: {error}.") from None
        if parts.scheme == "https":
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=TIMEOUT_S, context=_trust(gateway.ca_file)
            )
        else:
            self._http = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)

    def send(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """The answer's head is here, its body is not read. Raises Fault where there is no answer."""
        sent = {"Accept": "application/json", **(headers or {})}
        if self._key is not None:
            sent["Authorization"] = f"Bearer {self._key}"
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            self._http.request(method, self._path + path, body=payload, headers=sent)
            return self._http.getresponse()
        except ssl.SSLError as error:
            self._http.close()
            raise _tls_fault(self.base, error) from None
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise unreachable(self.base, error) from None

    def close(self) -> None:
        self._http.close()


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is None:
        return context
    # A certificate that is no authority, and whose own is not at hand, can be trusted by itself too.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        raise Fault(f"{ca_file} holds no certificate in PEM.", next_step="--ca-file FILE", code=USAGE) from None
    except OSError as error:
        raise Fault(f"{ca_file}: {error.strerror}.", next_step="--ca-file FILE", code=USAGE) from None
    return context


def _tls_fault(base: str, error: ssl.SSLError) -> Fault:
    if isinstance(error, ssl.SSLCertVerificationError):
        fix = "--ca-file FILE, or SYNAPSCALE_CA_FILE, with the certificate (PEM) that you trust"
        if error.verify_code in (62, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, …_IP_ADDRESS_MISMATCH
            fix = "--url with a name that the certificate is for"
        return Fault(f"{base} is not trusted: {error.verify_message.rstrip('.')}.", next_step=fix)
    if error.reason == "WRONG_VERSION_NUMBER":
        return Fault(f"{base} does not speak TLS.", next_step=f"--url http{base.removeprefix('https')}")
    return Fault(f"TLS with {base} failed: {error.reason or error}.")


def unreachable(base: str, error: Exception) -> Fault:
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    next_step = "synapscale serve, or another address with --url"
    if isinstance(error, http.client.RemoteDisconnected) and base.startswith("http:"):
        next_step = f"--url https{base.removeprefix('http')}, where it has a certificate"
    return Fault(f"{base} does not answer: {why}.", next_step=next_step, code=FAILED)


class Api:
    """Answers as plain dicts. A call is repeated once when its connection died: writes carry a key that allows it."""

    def __init__(self, gateway: Gateway, key: str) -> None:
        self.base = gateway.base
        self._connection = Connection(gateway, key)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._call("GET", path, None, query)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self._call("POST", path, {} if body is None else body, {})

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._call("PATCH", path, body, {})

    def delete(self, path: str) -> dict[str, Any]:
        return self._call("DELETE", path, None, {})

    def rows(self, path: str, *, limit: int, **query: Any) -> Iterator[dict[str, Any]]:
        """Page by page, at most `limit`."""
        after: str | None = None
        left = limit
        while left > 0:
            page = self.get(path, **query, limit=min(left, PAGE), after=after)
            data = page.get("data", [])
            yield from data[:left]
            left -= len(data)
            after = page.get("last_id")
            if not page.get("has_more") or not data or after is None:
                return

    def _call(self, method: str, path: str, body: Any, query: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in query.items() if value is not None}
        target = f"/api/v1/{path}" + (f"?{urlencode(given)}" if given else "")
        # A repeated write must not be made twice.
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method != "GET" else {}
        try:
            return self._once(method, target, body, headers)
        except Fault as fault:
            if not isinstance(fault.__context__, ConnectionError | http.client.RemoteDisconnected):
                raise
        return self._once(method, target, body, headers)

    def _once(self, method: str, target: str, body: Any, headers: Mapping[str, str]) -> dict[str, Any]:
        answer = self._connection.send(method, target, body, headers)
        try:
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise unreachable(self.base, error) from None
        if answer.status >= 300:
            raise refused(answer, content)
        if not content:
            return {}
        return json_object(content, self.base)


def json_object(content: bytes, base: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Fault(f"{base} answered something that is not SynapScale's.", next_step="another address with --url")
    return found


MANAGEMENT_KEY_NEEDED = "a valid management key in SYNAPSCALE_KEY or --key-file"


def virtual_key_needed(data_dir: Path) -> str:
    option = data_option(data_dir)
    return f"a valid virtual key in SYNAPSCALE_API_KEY: export SYNAPSCALE_API_KEY=$(synapscale keys create NAME{option})"


def refused(
    answer: http.client.HTTPResponse, content: bytes, *, sign_in: str = MANAGEMENT_KEY_NEEDED,
) -> Fault:
    """The gateway's own words, which say what to do; `sign_in`: where another key is put."""
    message = f"HTTP {answer.status}"
    try:
        error = json.loads(content)["error"]
        message = for_commands(plain(str(error["message"] if isinstance(error, dict) else error)))
    except (ValueError, KeyError, TypeError):
        if answer.status in (301, 302, 307, 308):
            message = f"A redirect to {plain(answer.headers.get('location', '?'))}: name that address with --url"
    signed_out = answer.status == 401
    return Fault(
        message, next_step=sign_in if signed_out else None,
        request_id=answer.headers.get("x-request-id"), code=NOT_SIGNED_IN if signed_out else FAILED,
    )


def segment(text: str) -> str:
    """A value as one segment of a path."""
    return quote(text, safe="")
