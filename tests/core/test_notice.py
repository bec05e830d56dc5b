"""A node says that it will go: who is asked to leave, when, and what is made of it afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_spotmix.core.actions import Inquire, Remove, Rescue
from airflow_provider_spotmix.core.controller import Decision, decide
from airflow_provider_spotmix.core.events import ApplicationPhase, RemoveFailed
from airflow_provider_spotmix.core.history import Cause
from airflow_provider_spotmix.core.state import FleetState
from tests.core.vocabulary import (
    NOON,
    ON_DEMAND,
    SPOT,
    after,
    application,
    deleting,
    evicted,
    explained,
    fleet,
    gone,
    karpenter,
    node,
    node_gone,
    notice,
    observed,
    on,
    placed,
    pod,
    run,
    running,
    started,
    synced,
    tick,
    told,
)

FIVE = fleet("40:60", executors=5)
ITN = "aws-node-termination-handler/spot-itn"
MAINTENANCE = "aws-node-termination-handler/scheduled-maintenance"


def leaving(decision: Decision) -> list[str]:
    """Executors that are asked to leave."""
    return [action.pod for action in decision.actions if isinstance(action, Remove)]


def on_one_node(pool: str, name: str, *numbers: int) -> FleetState:
    """A fleet of one pool's executors, all on one node."""
    spec = fleet("1:0" if pool == SPOT else "0:1", executors=len(numbers))
    pods = [running(number, seat=number - 1, pool=pool, node=name) for number in numbers]
    return run(spec, application(ApplicationPhase.RUNNING), node(name), *map(observed, pods), synced())


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param({"taints": (ITN,)}, id="termination-handler"),
        pytest.param({"taints": (MAINTENANCE,)}, id="maintenance"),
        pytest.param({"taints": ("cloud.google.com/impending-node-termination",)}, id="gke"),
        pytest.param({"taints": ("remediator.kubernetes.azure.com/unschedulable",)}, id="aks"),
        pytest.param({"ready": False, "shutting_down": True}, id="kubelet-shuts-down"),
    ],
)
@pytest.mark.parametrize("pool", [SPOT, ON_DEMAND])
def test_a_notice_makes_all_executors_of_the_node_leave_at_once(pool: str, seen: dict[str, Any]) -> None:
    state = on_one_node(pool, "n", 1, 2, 3)
    decision = decide(state, node("n", 5, **seen))
    assert leaving(decision) == ["etl-exec-1", "etl-exec-2", "etl-exec-3"]
    lost = after(decision.state, *(deleting(running(k, seat=k - 1, pool=pool, node="n"), 6) for k in (1, 2, 3)))
    interrupted = pool == SPOT and seen.get("taints") != (MAINTENANCE,)
    cause = Cause.SPOT_INTERRUPTION if interrupted else Cause.INFRASTRUCTURE
    assert lost.state.losses_by_cause == {cause: 3}


@pytest.mark.parametrize(
    "taint",
    [
        "aws-node-termination-handler/rebalance-recommendation",
        "DeletionCandidateOfClusterAutoscaler",
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
        "node.kubernetes.io/unschedulable",
        "node.kubernetes.io/unreachable",
    ],
)
def test_what_may_be_taken_back_makes_nobody_leave(taint: str) -> None:
    assert decide(started(FIVE), node("spot-1", taints=(taint,))).actions == ()


def test_an_executor_of_another_node_stays() -> None:
    assert leaving(decide(started(FIVE), notice("spot-1"))) == ["etl-exec-2"]


def test_pending_executors_that_are_bound_there_are_moved_on() -> None:
    state = run(started(FIVE), gone(on(started(FIVE), SPOT), 1), observed(pod(6), 2))
    bound = placed(6, seat=1, pool=ON_DEMAND, seat_pool=SPOT, node="n")
    state = run(state, observed(bound, 3))
    assert leaving(decide(state, node("n", 4, taints=(MAINTENANCE,)))) == ["etl-exec-6"]


def test_whoever_arrives_on_a_noticed_node_leaves_too() -> None:
    state = run(started(FIVE), node("n", taints=(ITN,)))
    late = running(6, seat=5, pool=SPOT, node="n")
    assert leaving(decide(state, observed(late, 1))) == ["etl-exec-6"]


def test_nobody_is_asked_twice() -> None:
    state = run(started(FIVE), notice("spot-1"))
    assert leaving(after(state, notice("spot-1", 1), observed(on(state, SPOT), 2), synced(3), tick(4))) == []


def test_a_failed_deletion_is_tried_again() -> None:
    state = run(started(FIVE), notice("spot-1"))
    assert leaving(decide(state, RemoveFailed(at=NOON + 1, uid="uid-2"))) == ["etl-exec-2"]


def test_a_withdrawn_notice_is_forgotten() -> None:
    state = run(started(FIVE), notice("spot-1"))
    decision = after(state, node("spot-1", 1), RemoveFailed(at=NOON + 2, uid="uid-2"))
    assert leaving(decision) == []
    assert told(decision) == ["the notice of node spot-1 is withdrawn: whoever is on it stays"]
    assert decision.state.avoided == frozenset()


def test_whoever_was_deleted_before_the_notice_was_withdrawn_is_lost_to_it() -> None:
    state = run(started(FIVE), notice("spot-1"), node("spot-1", 1), deleting(running(2, seat=1, pool=SPOT), 2))
    (loss,) = state.losses
    assert (loss.cause, loss.evidence) == (
        Cause.SPOT_INTERRUPTION,
        (f"notice: node spot-1 has taint {ITN} (seen 08:00:00Z)",),
    )


def test_a_notice_is_found_by_whoever_takes_over() -> None:
    state = run(
        FIVE, application(ApplicationPhase.RUNNING), notice("n"), observed(running(1, seat=0, pool=SPOT, node="n"))
    )
    assert leaving(decide(state, synced())) == ["etl-exec-1"]


def test_karpenter_is_asked_why_and_its_answer_decides() -> None:
    asked = decide(started(FIVE), karpenter("spot-1", 1))
    assert asked.actions == (Inquire(cause="nodes/spot-1@1", node="spot-1", node_uid="", pods=("etl-exec-2",)),)
    assert leaving(decide(asked.state, explained("spot-1", "SpotInterrupted", at=2))) == ["etl-exec-2"]
    assert leaving(decide(asked.state, explained("spot-1", "DisruptionTerminating", at=2))) == []
    assert leaving(decide(asked.state, explained("spot-1", at=2, hidden=True))) == ["etl-exec-2"]


def test_an_eviction_before_the_answer_is_explained_by_it() -> None:
    lost = evicted(running(2, seat=1, pool=SPOT), 2)
    state = run(started(FIVE), karpenter("spot-1", 1), lost)
    assert state.losses == ()
    for reason, cause in (("SpotInterrupted", "spot-interruption"), ("DisruptionTerminating", "infrastructure")):
        assert run(state, explained("spot-1", reason, at=3)).losses_by_cause == {cause: 1}


def test_whoever_takes_over_asks_for_those_who_leave_already() -> None:
    lost = evicted(running(2, seat=1, pool=SPOT), 2)
    state = run(FIVE, application(ApplicationPhase.RUNNING), karpenter("spot-1", 1), lost)
    assert [action for action in decide(state, synced()).actions if isinstance(action, Inquire)] != []


def test_an_answer_that_comes_after_the_node_is_gone_still_explains() -> None:
    lost = evicted(running(2, seat=1, pool=SPOT), 2)
    state = run(started(FIVE), karpenter("spot-1", 1), lost, node_gone("spot-1", 3))
    assert run(state, explained("spot-1", "DisruptionTerminating", at=4)).losses_by_cause == {"infrastructure": 1}


def test_a_new_node_of_that_name_inherits_no_notice() -> None:
    state = run(started(FIVE), karpenter("spot-1", 1), explained("spot-1", "SpotInterrupted", at=2))
    state = run(state, deleting(running(2, seat=1, pool=SPOT), 3), node_gone("spot-1", 4), node("spot-1", 9))
    assert leaving(decide(state, observed(running(6, seat=1, pool=SPOT, node="spot-1"), 10))) == []


# -- executors that a lost node still holds


@pytest.mark.parametrize(
    "state_of_pod",
    [
        pytest.param({}, id="running"),
        pytest.param({"phase": "Pending"}, id="pending"),
        pytest.param({"deleting": True}, id="terminating"),
    ],
)
@pytest.mark.parametrize("taint", ["node.kubernetes.io/out-of-service", "node.cloudprovider.kubernetes.io/shutdown"])
def test_a_stopped_machine_is_rescued_from_at_once(taint: str, state_of_pod: dict[str, Any]) -> None:
    state = run(started(FIVE), observed(running(2, seat=1, pool=SPOT, **state_of_pod), 1))
    decision = after(state, node("spot-1", 2, ready=False, taints=(taint,)), tick(2))
    assert [action.pod for action in decision.actions if isinstance(action, Rescue)] == ["etl-exec-2"]


def test_a_node_that_was_ready_in_between_is_not_lost() -> None:
    """Nobody saw it: only the server's own time of the change tells."""
    silent = {"ready": False}
    state = run(started(FIVE), node("spot-1", 1, **silent, ready_changed_at=NOON))
    flapped = run(state, node("spot-1", 9, **silent, ready_changed_at=NOON + 8))
    assert decide(flapped, tick(12)).actions == ()
    (rescue,) = decide(flapped, tick(20)).actions
    assert isinstance(rescue, Rescue)
    assert rescue.ready_changed_at == NOON + 8


@pytest.mark.parametrize("taint", ["node.kubernetes.io/unreachable", ITN, "karpenter.sh/disrupted"])
def test_a_node_that_only_goes_is_not_rescued_from(taint: str) -> None:
    decision = after(started(FIVE), node("spot-1", 1, taints=(taint,)), tick(100))
    assert [action for action in decision.actions if isinstance(action, Rescue)] == []
