"""What a Kubernetes API server, or the way to it, can answer other than success.

Every error carries the server's ``Status`` (code, reason, message, details) and the call it answered, and its text
tells both and the remedy. Source: ``k8s.io/apimachinery/pkg/apis/meta/v1`` (``Status``, ``StatusReason``).
"""
# Kubernetes' own words for its refusals read better than the same with "Error" appended.
# ruff: noqa: N818

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Call:
    """The call that an error answers, in Kubernetes' own words.

    ``verb`` is the RBAC verb (get, list, watch, create, patch, delete); ``resource`` is, as in a Role,
    ``plural[.group][/subresource]``; ``namespace`` is ``None`` for cluster scope; ``name`` is ``None`` for collections.
    """

    verb: str
    resource: str
    namespace: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        target = f"{self.resource} {self.name}" if self.name else self.resource
        return f"{self.verb} {target}" + (f" in namespace {self.namespace}" if self.namespace else "")


class StatusCause(msgspec.Struct, frozen=True):
    """One reason inside ``Status.details.causes``: the field, and what is wrong with it."""

    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(msgspec.Struct, frozen=True, rename="camel"):
    """``Status.details``: which object, why, and when to try again (seconds)."""

    name: str = ""
    kind: str = ""
    uid: str = ""
    causes: tuple[StatusCause, ...] = ()
    retry_after_seconds: float = 0.0


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """The server's own account of a failure. ``code`` is the HTTP status code, 0 when unknown."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: StatusDetails | None = None


class KubeError(Exception):
    """Anything that goes wrong between us and an API server."""


class ConfigError(KubeError):
    """The cluster's configuration cannot be used; the text names the source, the field and the remedy."""


class ApiError(KubeError):
    """The API server refused a call.

    ``status`` is what it said, ``call`` what we asked, ``retry_after`` the seconds it asks us to wait (0.0 when it
    does not say).
    """

    remedy: ClassVar[str] = ""

    def __init__(self, status: Status, call: Call, retry_after: float = 0.0) -> None:
        super().__init__(status, call, retry_after)
        self.status = status
        self.call = call
        self.retry_after = retry_after or (status.details.retry_after_seconds if status.details else 0.0)

    @property
    def code(self) -> int:
        """HTTP status code."""
        return self.status.code

    @property
    def reason(self) -> str:
        """Kubernetes' one-word reason, such as ``AlreadyExists``; empty when the server gave none."""
        return self.status.reason

    @property
    def message(self) -> str:
        """The server's message for people."""
        return self.status.message

    def __str__(self) -> str:
        said = self.status.message or self.status.reason or "no message"
        text = f"cannot {self.call}: the API server answered {self.status.code} {self.status.reason}".rstrip()
        remedy = self._remedy()
        return f"{text}: {said}" + (f"; {remedy}" if remedy else "")

    def _remedy(self) -> str:
        return self.remedy


class Unauthorized(ApiError):
    """401: the credentials are missing, wrong or expired."""

    remedy = "check the token, certificate or exec plugin of the Airflow connection or kubeconfig"


class Forbidden(ApiError):
    """403: authenticated, but RBAC (or admission) does not permit the call."""

    def _remedy(self) -> str:
        scope = f"a Role in namespace {self.call.namespace}" if self.call.namespace else "a ClusterRole"
        return f"grant the verb '{self.call.verb}' on '{self.call.resource}' to this user with {scope}"


class NotFound(ApiError):
    """404: the object, or the whole kind (a CRD that is not installed), does not exist."""

    def _remedy(self) -> str:
        if self.call.name and self.call.verb != "create":
            return ""
        return f"check the namespace, and that the cluster serves '{self.call.resource}' (is its CRD installed?)"


class Conflict(ApiError):
    """409: the object changed since it was read, or a precondition (uid, resourceVersion) does not hold."""


class AlreadyExists(ApiError):
    """409 with reason AlreadyExists: an object of this name is there. Not a :class:`Conflict`."""


class Gone(ApiError):
    """410: the resourceVersion or continue token is too old; list again."""


class Invalid(ApiError):
    """422: the object or the patch is not valid, or a JSON patch's ``test`` did not hold."""


class TooManyRequests(ApiError):
    """429: the server sheds load, or a disruption budget forbids an eviction. See ``retry_after``."""


class ServerError(ApiError):
    """5xx: the server, a webhook or a proxy before it failed. The call may or may not have taken effect."""


class ApiUnavailable(KubeError):
    """No answer: connecting, TLS, reading or the time limit failed. The call may or may not have taken effect.

    ``maybe_done`` is False when it is certain that the server never got the request.
    """

    def __init__(self, call: Call, server: str, cause: str, *, maybe_done: bool = True) -> None:
        super().__init__(call, server, cause)
        self.call = call
        self.server = server
        self.cause = cause
        self.maybe_done = maybe_done

    def __str__(self) -> str:
        return (
            f"cannot {self.call}: no answer from {self.server}: {self.cause}; check that the API server is up and that "
            "its address, the proxy and the CA certificate are right"
        )


class DecodeError(KubeError):
    """The server's answer is not what the Kubernetes API promises (a proxy's error page, for example)."""

    def __init__(self, call: Call, problem: str, body: bytes) -> None:
        super().__init__(call, problem)
        self.call = call
        self.problem = problem
        self.excerpt = body[:200].decode("utf-8", "replace")

    def __str__(self) -> str:
        return (
            f"cannot {self.call}: the answer is not the expected Kubernetes JSON ({self.problem}); it starts with "
            f"{self.excerpt!r}; check that the address is that of an API server and not of a login page"
        )


_BY_CODE: Mapping[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def api_error(status: Status, call: Call, retry_after: float = 0.0) -> ApiError:
    """Choose the class of error for a ``Status``."""
    if status.code == 409 and status.reason == "AlreadyExists":
        return AlreadyExists(status, call, retry_after)
    fallback = ServerError if status.code >= 500 else ApiError
    return _BY_CODE.get(status.code, fallback)(status, call, retry_after)


def status_of(code: int, body: bytes, http_reason: str = "") -> Status:
    """Read the ``Status`` from the body of a failed answer; what a proxy says in plain text becomes the message."""
    try:
        status = msgspec.json.decode(body, type=Status)
    except msgspec.MsgspecError:
        return Status(code=code, reason=http_reason, message=body[:500].decode("utf-8", "replace").strip())
    return Status(status.code or code, status.reason or http_reason, status.message, status.details)
