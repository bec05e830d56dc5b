import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spotmix.kube import objects
from airflow_provider_spotmix.kube.objects import CoreEvent, Lease, Node, Pod, Raw, Timestamp

# Hypothesis takes naive limits and adds the zone itself.
EPOCH, LATE = dt.datetime(1970, 1, 1), dt.datetime(2200, 1, 1)  # noqa: DTZ001
moments = st.datetimes(min_value=EPOCH, max_value=LATE, timezones=st.just(dt.UTC))


@given(moments)
def test_times_survive_the_round_trip_to_the_microsecond(moment: dt.datetime) -> None:
    text = Timestamp(moment.timestamp()).rfc3339_micro()
    assert abs(Timestamp.parse(text) - moment.timestamp()) < 2e-6
    assert text.endswith("Z")
    assert len(text) == len("2026-11-23T07:10:39.123456Z")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("1970-01-01T00:00:10Z", 10.0, id="metav1-time"),
        pytest.param("1970-01-01T00:00:10.25Z", 10.25, id="fraction"),
        pytest.param("1970-01-01T00:00:10.123456789Z", 10.123456, id="nanoseconds-are-cut"),
        pytest.param("1970-01-01T01:00:10+01:00", 10.0, id="offset"),
        pytest.param("1970-01-01T00:00:10", 10.0, id="no-zone-is-utc"),
    ],
)
def test_times_are_seconds_since_the_epoch(text: str, seconds: float) -> None:
    assert Timestamp.parse(text) == seconds


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
texts = st.text(max_size=10)
times = moments.map(lambda moment: Timestamp(moment.timestamp()).rfc3339_micro())


def partial(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Objects as servers of any version send them: fields absent, null, or there; and fields that nobody knows."""
    known = st.fixed_dictionaries({}, optional={name: st.none() | values for name, values in fields.items()})
    unknown = st.dictionaries(texts.map(lambda text: f"x-{text}"), json_values, max_size=2)
    return st.builds(lambda a, b: {**b, **a}, known, unknown)


metadata = partial(
    name=texts,
    uid=texts,
    labels=st.dictionaries(texts, texts, max_size=2),
    annotations=st.dictionaries(texts, texts, max_size=2),
    creationTimestamp=times,
    deletionTimestamp=times,
    deletionGracePeriodSeconds=st.integers(0, 1000),
    ownerReferences=st.lists(partial(kind=texts, name=texts, controller=st.booleans()), max_size=2),
)
conditions = st.lists(partial(type=texts, status=texts, reason=texts, lastTransitionTime=times), max_size=2)
terminated = partial(exitCode=st.integers(0, 255), reason=texts, message=texts, finishedAt=times)
pods = partial(
    metadata=metadata,
    spec=partial(
        nodeName=texts,
        schedulingGates=st.lists(partial(name=texts), max_size=2),
        nodeSelector=st.dictionaries(texts, texts, max_size=2),
        tolerations=st.lists(partial(key=texts, tolerationSeconds=st.integers(0, 300)), max_size=2),
        containers=st.lists(partial(name=texts), max_size=2),
    ),
    status=partial(
        phase=texts,
        conditions=conditions,
        startTime=times,
        containerStatuses=st.lists(partial(name=texts, state=partial(terminated=terminated)), max_size=2),
    ),
)

DECODE_POD = objects.decoder(Pod)


@given(pods)
def test_pods_decode_whatever_is_missing_null_or_unknown(sent: dict[str, dict[str, object]]) -> None:
    pod = objects.decode(DECODE_POD, json.dumps(sent).encode())
    meta = sent.get("metadata") or {}
    assert pod.metadata.name == (meta.get("name") or "")
    assert pod.metadata.labels == (meta.get("labels") or {})
    assert (pod.metadata.deletion_timestamp is None) == (meta.get("deletionTimestamp") is None)
    assert pod.status.phase == ((sent.get("status") or {}).get("phase") or "")
    gates = (sent.get("spec") or {}).get("schedulingGates") or []
    assert len(pod.spec.scheduling_gates) == len(gates)  # type: ignore[arg-type]


@given(pods)
def test_converting_json_values_equals_decoding_their_bytes(sent: dict[str, object]) -> None:
    assert objects.convert(sent, Pod) == objects.decode(DECODE_POD, json.dumps(sent).encode())


def test_a_terminated_executor_tells_how_it_ended() -> None:
    body = b"""{"metadata": {"name": "e-1"}, "status": {"phase": "Failed", "containerStatuses": [
        {"name": "spark-kubernetes-executor", "state": {"terminated":
        {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "1970-01-01T00:01:00Z"}}}]}}"""
    state = objects.decode(DECODE_POD, body).status.container_statuses[0].state
    assert state.terminated == objects.ContainerStateTerminated(
        exit_code=137, reason="OOMKilled", finished_at=Timestamp(60)
    )
    assert state.running is None


def test_a_node_tells_taints_and_cordon() -> None:
    body = b"""{"metadata": {"name": "n"}, "spec": {"unschedulable": true, "providerID": "aws:///i-1",
        "taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule", "timeAdded": null}]}}"""
    node = objects.decode(objects.decoder(Node), body)
    assert node.spec == objects.NodeSpec(
        taints=(objects.Taint(key="karpenter.sh/disrupted", effect="NoSchedule"),),
        unschedulable=True,
        provider_id="aws:///i-1",
    )


@pytest.mark.parametrize(
    ("fields", "seen_at"),
    [
        pytest.param('"lastTimestamp": "1970-01-01T00:00:09Z", "eventTime": null', 9.0, id="older-reporters"),
        pytest.param('"lastTimestamp": null, "eventTime": "1970-01-01T00:00:08.5Z"', 8.5, id="newer-reporters"),
        pytest.param('"firstTimestamp": "1970-01-01T00:00:07Z"', 7.0, id="first-only"),
        pytest.param('"metadata": {"creationTimestamp": "1970-01-01T00:00:06Z"}', 6.0, id="creation"),
        pytest.param('"count": 1', 0.0, id="none"),
    ],
)
def test_events_know_when_they_were_seen(fields: str, seen_at: float) -> None:
    assert objects.decode(objects.decoder(CoreEvent), f"{{{fields}}}".encode()).seen_at == seen_at


def test_leases_keep_microseconds() -> None:
    body = b'{"spec": {"holderIdentity": "a", "leaseDurationSeconds": 6, "renewTime": "1970-01-01T00:00:01.000250Z"}}'
    spec = objects.decode(objects.decoder(Lease), body).spec
    assert (spec.holder_identity, spec.lease_duration_seconds, spec.renew_time) == ("a", 6, 1.00025)


def test_custom_objects_keep_their_json() -> None:
    body = b'{"kind": "SparkApplication", "metadata": {"name": "x"}, "status": {"applicationState": {"state": null}}}'
    thing = objects.decode(objects.decoder(Raw), body)
    assert (thing.kind, thing.metadata.name, thing.status) == (
        "SparkApplication",
        "x",
        {"applicationState": {"state": None}},
    )
