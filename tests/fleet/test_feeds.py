"""From what the hub says to what the core hears: order, snapshots, objects that are not what they were. No cluster."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Place
from airflow_provider_spotmix.core.pools import KARPENTER
from airflow_provider_spotmix.core.spec import ApplicationSpec, FleetSpec
from airflow_provider_spotmix.fleet.apply import Applier
from airflow_provider_spotmix.fleet.feeds import ApplicationFeed, NodeFeed, PodFeed
from airflow_provider_spotmix.fleet.voice import Voice
from airflow_provider_spotmix.kube.errors import ApiUnavailable
from airflow_provider_spotmix.kube.objects import Node, Pod, Raw, convert
from airflow_provider_spotmix.kube.watch import Changed, Synced
from tests.fleet.test_plan import MIX
from tests.kube.memory import MemoryServer
from tests.support.played_spark import APPLICATIONS

SPEC = FleetSpec(
    fleet_id="f1",
    namespace="spark",
    applications=(ApplicationSpec(name="etl", executors=5),),
    mix=MIX,
    pools=KARPENTER,
)


SCHEDULED = {"type": "PodScheduled", "status": "True"}
UNSCHEDULED = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
PULLING = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}


def now() -> float:
    return 7.0


def executor(number: int, *, created: str = "2026-11-23T07:00:00Z", gated: bool = True) -> Pod:
    marks = {"spark-role": "executor", "spark-exec-id": str(number), "spotmix.io/application": "etl"}
    metadata = {"name": f"exec-{number}", "uid": f"u{number}", "labels": marks, "creationTimestamp": created}
    gates = [{"name": "spotmix.io/placement"}] if gated else []
    return convert({"metadata": metadata, "spec": {"schedulingGates": gates}}, Pod)


def heard(batch: list[Any]) -> list[tuple[str, str]]:
    return [(type(event).__name__, event.pod.name) for event in batch]


def test_executors_of_a_snapshot_come_in_the_order_that_spark_asked_for_them() -> None:
    later = executor(3, created="2026-11-23T07:00:01Z")
    found = PodFeed(now).events(Synced((later, executor(10), executor(2), executor(1))))
    assert [name for _, name in heard(found)] == ["exec-1", "exec-2", "exec-10", "exec-3"]


def test_what_a_later_snapshot_lacks_has_gone_at_an_unknown_time() -> None:
    feed = PodFeed(now)
    feed.events(Synced((executor(1), executor(2))))
    found = feed.events(Synced((executor(2), executor(3))))
    assert heard(found) == [
        ("ExecutorDeleted", "exec-1"),
        ("ExecutorObserved", "exec-2"),
        ("ExecutorObserved", "exec-3"),
    ]
    assert isinstance(found[0], ev.ExecutorDeleted)
    assert found[0].estimated
    assert set(feed.pods) == {"u2", "u3"}


@pytest.mark.parametrize(
    ("status", "started", "waits_for"),
    [
        pytest.param({}, False, "", id="nothing-is-known"),
        pytest.param(
            {"phase": "Pending", "conditions": [{**UNSCHEDULED, "message": "0/3 nodes are available"}]},
            False,
            "Unschedulable: 0/3 nodes are available",
            id="unschedulable",
        ),
        pytest.param({"conditions": [UNSCHEDULED]}, False, "Unschedulable", id="without-a-message"),
        pytest.param(
            {"phase": "Pending", "conditions": [SCHEDULED], "containerStatuses": [{}, {"state": PULLING}]},
            False,
            "ImagePullBackOff: no such image",
            id="image-not-found",
        ),
        pytest.param({"phase": "Running"}, True, "", id="running"),
        pytest.param({"phase": "Failed"}, True, "", id="over"),
    ],
)
def test_a_driver_says_what_it_waits_for_and_is_not_kept(status: dict[str, Any], started: bool, waits_for: str) -> None:
    feed = PodFeed(now)
    marks = {"spark-role": "driver", "spotmix.io/application": "etl"}
    driver = convert({"metadata": {"name": "etl-driver", "uid": "d", "labels": marks}, "status": status}, Pod)
    assert feed.events(Changed("ADDED", driver)) == [
        ev.DriverObserved(
            at=7,
            id="pods/etl-driver@",
            application="etl",
            pod="etl-driver",
            started=started,
            waits_for=waits_for,
            uid="d",
            ended=status.get("phase") == "Failed",
        )
    ]
    assert feed.events(Synced(())) == []
    assert feed.pods == {}


def test_a_node_is_worth_an_event_only_when_a_decision_could_change() -> None:
    feed = NodeFeed(MemoryServer().client(), now)
    node = convert({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}, Node)
    tainted = convert({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "karpenter.sh/disrupted"}]}}, Node)
    assert len(feed.events(Synced((node,)))) == 1
    assert feed.events(Changed("MODIFIED", node)) == []
    assert len(feed.events(Changed("MODIFIED", tainted))) == 1
    assert [type(event) for event in feed.events(Synced(()))] == [ev.NodeDeleted]


def application(uid: str, **fields: Any) -> dict[str, Any]:
    metadata = {"name": "etl", "uid": uid, "labels": {"spotmix.io/fleet": "f1"}, **fields}
    return {"metadata": metadata, "status": {"applicationState": {"state": "RUNNING"}}}


async def test_an_application_that_has_taken_the_name_is_not_ours() -> None:
    feed = ApplicationFeed(MemoryServer().client(), SPEC, now)
    first, second = (convert(application(uid), Raw) for uid in ("a1", "a2"))
    assert [type(event) for event in await feed.events(Synced((first,)))] == [ev.ApplicationObserved]
    (found,) = await feed.events(Synced((second,)))
    assert isinstance(found, ev.ApplicationDeleted)
    assert found.uid == "a1"


async def test_an_application_without_its_label_is_looked_at_until_it_is_gone() -> None:
    server = MemoryServer()
    kube = server.client()
    here = await kube.create(APPLICATIONS, application("x", labels={}), "spark")
    feed = ApplicationFeed(kube, SPEC, now)
    await feed.events(Changed("ADDED", here))
    assert [type(event) for event in await feed.events(Changed("DELETED", here))] == [ev.ApplicationObserved]
    assert [type(event) for event in await feed.unwatched()] == [ev.ApplicationObserved]
    await kube.delete(APPLICATIONS, "etl", "spark")
    assert [type(event) for event in await feed.unwatched()] == [ev.ApplicationDeleted]
    assert await feed.unwatched() == []


async def test_no_answer_about_a_missing_application_is_not_its_end() -> None:
    server = MemoryServer()
    server.fail("get")
    with pytest.raises(ApiUnavailable):
        await ApplicationFeed(server.client(), SPEC, now).events(Synced(()))


async def test_a_placement_that_is_done_already_is_seen_and_not_tried_again() -> None:
    """The answer to an earlier call was lost, and the watch was faster than the retry."""
    applier = Applier(MemoryServer().client(), SPEC, voice=Voice(lambda *_: None), now=now)
    place = Place(cause="e", uid="u1", pod="exec-1", seat=0, seat_pool="spot", pool="spot", reason="r")
    assert heard(await applier.place(place, executor(1, gated=False))) == [("ExecutorObserved", "exec-1")]


def test_a_trouble_is_told_once_until_it_changes_or_is_over() -> None:
    told: list[str] = []
    voice = Voice(lambda message, _: told.append(message))
    for message in ("away", "away", "refused"):
        voice.trouble("api", message)
    assert (voice.settled("api"), voice.settled("api")) == (True, False)
    voice.trouble("api", "refused")
    assert told == ["away", "refused", "refused"]
