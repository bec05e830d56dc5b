"""The API server's audit log, one line at a time: who asked for what, what became of it, and when.

https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from msgspec import Struct

_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


NOTHING = msgspec.Raw(b"null")


class _User(Struct, frozen=True):
    username: str = ""


class _Ref(Struct, frozen=True):
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class _Code(Struct, frozen=True):
    code: int = 0


class _Event(Struct, frozen=True, rename="camel"):
    stage: str
    verb: str
    user: _User
    stage_timestamp: str
    impersonated_user: _User | None = None
    object_ref: _Ref | None = None
    response_status: _Code | None = None
    request_object: msgspec.Raw = msgspec.Raw()
    response_object: msgspec.Raw = msgspec.Raw()


class Line(Struct, frozen=True, kw_only=True):
    """A write that the API server answered. ``at``: when it had, in seconds since the epoch by its own clock."""

    at: float
    actor: str
    verb: str
    resource: str
    namespace: str
    name: str
    subresource: str
    code: int
    sent: msgspec.Raw = NOTHING
    answered: msgspec.Raw = NOTHING

    @property
    def succeeded(self) -> bool:
        """Whether it was done."""
        return 200 <= self.code < 300

    def answer(self) -> dict[str, Any]:
        """The object as it was after that; empty when the answer was none but that it is done."""
        found: dict[str, Any] = msgspec.json.decode(self.answered) or {}
        return {} if found.get("kind") == "Status" else found


_decoder = msgspec.json.Decoder(_Event)


def parse(text: bytes) -> Line | None:
    """Read a line; None for anything but an answered write to an object.

    Raises:
        msgspec.DecodeError: it is no audit event.

    """
    if not text.strip():
        return None
    event = _decoder.decode(text)
    ref = event.object_ref
    if ref is None or event.stage != "ResponseComplete" or event.verb not in _WRITES:
        return None
    return Line(
        at=seconds(event.stage_timestamp),
        actor=(event.impersonated_user or event.user).username,
        verb=event.verb,
        resource=ref.resource,
        namespace=ref.namespace,
        name=ref.name,
        subresource=ref.subresource,
        code=event.response_status.code if event.response_status else 0,
        sent=_kept(event.request_object),
        answered=_kept(event.response_object),
    )


def parse_cut(text: bytes) -> Line | None:
    """Read a line of which the API server may have written only a part before it was killed."""
    try:
        return parse(text)
    except msgspec.DecodeError:
        begun = text.rfind(b'{"kind":"Event"')
        return parse(text[begun:]) if begun > 0 else None


def seconds(stamp: str) -> float:
    """A timestamp of the API as seconds since the epoch."""
    return dt.datetime.fromisoformat(stamp).timestamp()


def _kept(raw: msgspec.Raw) -> msgspec.Raw:
    """A copy of its own: what is decoded holds on to the whole line otherwise."""
    return msgspec.Raw(bytes(raw)) if raw else NOTHING
