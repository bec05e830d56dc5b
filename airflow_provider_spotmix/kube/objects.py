"""Decode Kubernetes JSON into structs that hold only the fields the controller needs.

Field names follow the API in snake case. Absent and null fields take their defaults; unknown fields are skipped.
Every time is :class:`Timestamp`: seconds since the epoch, UTC. Structs are frozen; treat their dicts as read-only.
Source of the fields: the Kubernetes API reference, v1.36 (``core/v1``, ``coordination.k8s.io/v1``).
"""

from __future__ import annotations

import datetime as dt
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class Timestamp(float):
    """Seconds since the epoch, UTC, decoded from RFC 3339 (``metav1.Time`` and ``metav1.MicroTime``)."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Timestamp:
        """Decode ``2026-11-23T07:10:39[.ffffff]Z`` or a numeric offset; a time without a zone is taken as UTC.

        Raises ``ValueError`` when the text is not RFC 3339.
        """
        moment = dt.datetime.fromisoformat(text)
        return cls((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp())

    def rfc3339_micro(self) -> str:
        """Encode as ``metav1.MicroTime``, as Leases need it: ``2026-11-23T07:10:39.123456Z``."""
        return dt.datetime.fromtimestamp(self, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _Object(msgspec.Struct, frozen=True, rename="camel"):
    """Base of all structs here: camelCase on the wire."""


class OwnerReference(_Object, frozen=True):
    """``metadata.ownerReferences[]``."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class ObjectMeta(_Object, frozen=True):
    """``metadata``. ``deletion_grace_period_seconds`` is ``None`` unless the object is being deleted."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    deletion_grace_period_seconds: int | None = None
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()


class Condition(_Object, frozen=True):
    """A pod's or node's condition; ``status`` is ``True``, ``False`` or ``Unknown`` (strings)."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: Timestamp | None = None
    last_heartbeat_time: Timestamp | None = None


class SchedulingGate(_Object, frozen=True):
    """``spec.schedulingGates[]``."""

    name: str = ""


class Toleration(_Object, frozen=True):
    """``spec.tolerations[]``."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class Taint(_Object, frozen=True):
    """``spec.taints[]`` of a node."""

    key: str = ""
    value: str = ""
    effect: str = ""
    time_added: Timestamp | None = None


class ContainerPort(_Object, frozen=True):
    """``spec.containers[].ports[]``."""

    name: str = ""
    container_port: int = 0


class Container(_Object, frozen=True):
    """``spec.containers[]``: only what it is called, what it runs, and its ports."""

    name: str = ""
    image: str = ""
    ports: tuple[ContainerPort, ...] = ()


class ContainerStateWaiting(_Object, frozen=True):
    """Why a container has not started, such as ``ImagePullBackOff``."""

    reason: str = ""
    message: str = ""


class ContainerStateRunning(_Object, frozen=True):
    """Since when a container runs."""

    started_at: Timestamp | None = None


class ContainerStateTerminated(_Object, frozen=True):
    """How a container ended; ``signal`` is ``None`` unless the runtime reports one."""

    exit_code: int = 0
    signal: int | None = None
    reason: str = ""
    message: str = ""
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None


class ContainerState(_Object, frozen=True):
    """At most one of the three is set; none means waiting without a reason."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(_Object, frozen=True):
    """``status.containerStatuses[]``."""

    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodSpec(_Object, frozen=True):
    """``spec`` of a pod. ``affinity`` stays JSON; ``node_name`` is empty until the pod is bound."""

    node_name: str = ""
    scheduling_gates: tuple[SchedulingGate, ...] = ()
    node_selector: dict[str, str] = {}
    affinity: dict[str, Any] = {}
    tolerations: tuple[Toleration, ...] = ()
    containers: tuple[Container, ...] = ()
    priority_class_name: str = ""
    termination_grace_period_seconds: int | None = None


class PodStatus(_Object, frozen=True):
    """``status`` of a pod; ``phase`` is Pending, Running, Succeeded, Failed or Unknown."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    start_time: Timestamp | None = None
    pod_ip: str = msgspec.field(name="podIP", default="")


class Pod(_Object, frozen=True):
    """``core/v1`` Pod."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class NodeSpec(_Object, frozen=True):
    """``spec`` of a node; ``unschedulable`` is what ``kubectl cordon`` sets."""

    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    provider_id: str = msgspec.field(name="providerID", default="")


class NodeStatus(_Object, frozen=True):
    """``status`` of a node."""

    conditions: tuple[Condition, ...] = ()


class Node(_Object, frozen=True):
    """``core/v1`` Node (cluster-scoped)."""

    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ObjectReference(_Object, frozen=True):
    """The object that an event is about."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    field_path: str = ""


class EventSource(_Object, frozen=True):
    """Who reported an event, in the older form."""

    component: str = ""
    host: str = ""


class CoreEvent(_Object, frozen=True):
    """``core/v1`` Event. Which of the three times is set depends on the reporter: use :attr:`seen_at`."""

    metadata: ObjectMeta = ObjectMeta()
    involved_object: ObjectReference = ObjectReference()
    reason: str = ""
    message: str = ""
    type: str = ""
    count: int = 0
    source: EventSource = EventSource()
    reporting_component: str = ""
    first_timestamp: Timestamp | None = None
    last_timestamp: Timestamp | None = None
    event_time: Timestamp | None = None

    @property
    def seen_at(self) -> float:
        """When it last happened, seconds since the epoch; 0.0 when the event carries no time at all."""
        return self.last_timestamp or self.event_time or self.first_timestamp or self.metadata.creation_timestamp or 0.0


class LeaseSpec(_Object, frozen=True):
    """``spec`` of a Lease; its times are the holder's clock, so never compare them with ours."""

    holder_identity: str = ""
    lease_duration_seconds: int | None = None
    acquire_time: Timestamp | None = None
    renew_time: Timestamp | None = None
    lease_transitions: int = 0


class Lease(_Object, frozen=True):
    """``coordination.k8s.io/v1`` Lease."""

    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()


class ConfigMap(_Object, frozen=True):
    """``core/v1`` ConfigMap; ``binaryData`` is not read."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}


class Raw(_Object, frozen=True):
    """Any other object, custom ones above all: typed metadata, the rest as plain JSON."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: dict[str, Any] = {}
    status: dict[str, Any] = {}


def metadata_of(thing: Any) -> ObjectMeta:
    """Return the metadata of any object of the API: a struct of this module, or a dict."""
    return convert(thing.get("metadata") or {}, ObjectMeta) if isinstance(thing, dict) else thing.metadata


def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Build a JSON decoder that knows :class:`Timestamp`. Building is slow, decoding is fast: keep it."""
    return msgspec.json.Decoder(kind, dec_hook=_decode_custom, strict=True)


def decode(fast: msgspec.json.Decoder[T], body: bytes | memoryview) -> T:
    """Decode; on the rare answer with explicit nulls or loosely typed scalars, decode again without them.

    Raises ``msgspec.MsgspecError`` when that does not help either.
    """
    try:
        return fast.decode(body)
    except msgspec.ValidationError:
        cleaned = _without_nulls(msgspec.json.decode(body))
        return msgspec.convert(cleaned, fast.type, strict=False, dec_hook=_decode_custom)


def convert(value: Any, kind: type[T]) -> T:
    """Turn plain JSON values (dicts, as a person or a renderer writes them) into a struct, with the same leniency."""
    return msgspec.convert(_without_nulls(value), kind, strict=False, dec_hook=_decode_custom)


def _decode_custom(kind: type, value: Any) -> Any:
    if kind is Timestamp and isinstance(value, str):
        return Timestamp.parse(value)
    raise ValueError(f"cannot decode {type(value).__name__} as {kind.__name__}")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value
