"""Thousands of unlucky lives of a controller in a model cluster; and controllers that are broken on purpose, to show
that the oracle notices.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core import controller
from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Place, Remove, Rescue, SaveCheckpoint
from airflow_provider_spotmix.core.controller import Decision
from airflow_provider_spotmix.core.state import FleetState
from tests.core import search, simulation
from tests.core.cluster_model import ADVICE, ITN
from tests.core.oracle import Wrong
from tests.core.vocabulary import ON_DEMAND, SPOT

Decide = simulation.Decide
PER_TEST = 75


@pytest.mark.parametrize("first", range(0, 600, PER_TEST))
def test_nothing_goes_wrong(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        setup, steps = search.drawn(seed, 40 + seed % 160)
        if search.fails(setup, steps):
            steps = search.shrunk(setup, steps)
            pytest.fail(f"seed {seed}: {setup}\n{steps}\n{search.fails(setup, steps)}")


def test_the_steps_lead_to_everything_that_may_happen() -> None:
    """A simulation that is never unlucky proves nothing."""
    seen: set[str] = set()
    for seed in range(100):
        run = simulation.play(*search.drawn(seed, 500))
        seen |= {loss.cause.value for loss in run.state.losses}
        seen |= {"fallback" for r in run.state.replacements if r.is_fallback}
        seen |= {"return" for r in run.state.replacements if r.seat_pool == SPOT == r.pool}
        seen |= {f"fell back: {each.cause}" for each in run.state.fallbacks}
        seen |= {f"returned: {each.cause}" for each in run.state.returns}
        seen |= {f"breaker: {each.status.value}" for each in run.state.breaker_changes}
        seen |= {"probe failed" for each in run.state.breaker_changes if each.cause.startswith("its probe")}
        seen |= {"estimated" for loss in run.state.losses if loss.estimated}
        seen |= {type(action).__name__ for entry in run.run.entries for action in entry.actions}
        seen |= {"noticed" for loss in run.state.losses if any(said.startswith("notice: ") for said in loss.evidence)}
        seen |= {"restarted" for app in run.state.applications.values() if app.past_submissions}
    assert seen >= {
        "spot-interruption",
        "infrastructure",
        "application",
        "unknown",
        "fallback",
        "return",
        "estimated",
        "Rescue",
        "restarted",
        "noticed",
        "Remove",
        "spot-unobtainable",
        "fell back: spot-unobtainable",
        "fell back: breaker-open",
        "returned: application",
        "returned: return",
        "breaker: open",
        "breaker: half-open",
        "breaker: closed",
        "probe failed",
    }


# -- broken on purpose


def deaf_to(kind: type[ev.Event], every: int = 1) -> Decide:
    heard = count(1)

    def decide(state: FleetState, event: ev.AnyEvent) -> Decision:
        deaf = isinstance(event, kind) and next(heard) % every == 0
        return Decision(state) if deaf else controller.decide(state, event)

    return decide


def changing(change: Callable[[FleetState, Place], list[Place | Rescue]]) -> Decide:
    def decide(state: FleetState, event: ev.AnyEvent) -> Decision:
        decision = controller.decide(state, event)
        actions = [b for a in decision.actions for b in (change(state, a) if isinstance(a, Place) else [a])]
        return Decision(decision.state, tuple(actions))

    return decide


def twice(state: FleetState, action: Place) -> list[Place | Rescue]:
    waiting = [e.pod for _, e in state.executors() if e.placing and e.pod.uid != action.uid]
    return [action, *(replace(action, uid=pod.uid, pod=pod.name) for pod in waiting[:1])]


def without_acting(kind: type[Place | Rescue]) -> Decide:
    def decide(state: FleetState, event: ev.AnyEvent) -> Decision:
        decision = controller.decide(state, event)
        return Decision(decision.state, tuple(a for a in decision.actions if not isinstance(a, kind)))

    return decide


def forgetful(state: FleetState, event: ev.AnyEvent) -> Decision:
    decision = controller.decide(state, event)
    return Decision(replace(decision.state, replacements=()), decision.actions)


def silent(state: FleetState, event: ev.AnyEvent) -> Decision:
    decision = controller.decide(state, event)
    return Decision(replace(decision.state, fallbacks=()), decision.actions)


def without_a_breaker(state: FleetState, event: ev.AnyEvent) -> Decision:
    """It says that it is open, and goes on as if it were not."""
    decision = controller.decide(replace(state, breakers={}), event)
    breakers = {**state.breakers, **decision.state.breakers}
    return Decision(replace(decision.state, breakers=breakers), decision.actions)


def many_probes(state: FleetState, event: ev.AnyEvent) -> Decision:
    breakers = {pool: replace(each, probe="") for pool, each in state.breakers.items()}
    return controller.decide(replace(state, breakers=breakers), event)


def impatient(state: FleetState, event: ev.AnyEvent) -> Decision:
    """Gives up whoever has no node at the first tick."""
    policy = replace(state.spec.policy, spot_pending_timeout_seconds=1.0, spot_wait_seconds=1.0)
    decision = controller.decide(replace(state, spec=replace(state.spec, policy=policy)), event)
    return Decision(replace(decision.state, spec=state.spec), decision.actions)


def hasty(state: FleetState, event: ev.AnyEvent) -> Decision:
    """Rescues on suspicion: whoever runs, at every tick."""
    decision = controller.decide(state, event)
    running = [e.pod for _, e in state.executors() if e.pod.node] if isinstance(event, ev.Tick) else []
    rescues = tuple(Rescue(cause="hasty", uid=pod.uid, pod=pod.name, node=pod.node) for pod in running)
    return Decision(decision.state, decision.actions + rescues)


def credulous(state: FleetState, event: ev.AnyEvent) -> Decision:
    """Takes a recommendation for a notice."""
    if isinstance(event, ev.NodeObserved) and ADVICE in event.node.taints:
        event = replace(event, node=replace(event.node, taints=(ITN,)))
    return controller.decide(state, event)


def heedless(state: FleetState, event: ev.AnyEvent) -> Decision:
    """Leaves executors on nodes that go."""
    decision = controller.decide(state, event)
    heeded = tuple(a for a in decision.actions if not (isinstance(a, Remove) and a.reason.startswith("notice: ")))
    return Decision(decision.state, heeded)


def moody() -> Decide:
    mood = count()

    def decide(state: FleetState, event: ev.AnyEvent) -> Decision:
        decision = controller.decide(state, event)
        return Decision(decision.state, (*decision.actions, SaveCheckpoint(cause=f"mood {next(mood)}")))

    return decide


def unexplained(state: FleetState, event: ev.AnyEvent) -> Decision:
    """Counts every deletion as a loss, the driver's own as well."""
    if isinstance(event, ev.ExecutorObserved) and event.pod.deleting and not event.pod.disruption:
        event = replace(event, pod=replace(event.pod, disruption="EvictionByEvictionAPI"))
    return controller.decide(state, event)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda: deaf_to(ev.ExecutorObserved, every=9), id="deaf-to-some-news-of-executors"),
        pytest.param(lambda: deaf_to(ev.NodeObserved), id="deaf-to-nodes"),
        pytest.param(lambda: deaf_to(ev.PlaceFailed), id="does-not-try-again"),
        pytest.param(lambda: deaf_to(ev.RescueFailed), id="does-not-rescue-again"),
        pytest.param(lambda: deaf_to(ev.Tick), id="has-no-clock"),
        pytest.param(lambda: changing(twice), id="gives-a-seat-twice"),
        pytest.param(
            lambda: changing(lambda _, a: [replace(a, pool=SPOT, seat_pool=SPOT)]), id="puts-everybody-on-spot"
        ),
        pytest.param(lambda: changing(lambda _, a: [replace(a, pool=a.seat_pool)]), id="never-falls-back"),
        pytest.param(lambda: changing(lambda _, a: [replace(a, pool=ON_DEMAND)]), id="spends-too-much"),
        pytest.param(lambda: changing(lambda _, a: [replace(a, seat_pool=ON_DEMAND)]), id="labels-seats-wrongly"),
        pytest.param(lambda: changing(lambda _, a: [replace(a, seat=a.seat + 1)]), id="labels-another-seat"),
        pytest.param(lambda: without_acting(Place), id="does-not-place"),
        pytest.param(lambda: without_acting(Rescue), id="does-not-rescue"),
        pytest.param(lambda: forgetful, id="forgets-what-was-replaced"),
        pytest.param(lambda: silent, id="does-not-list-fallbacks"),
        pytest.param(lambda: without_a_breaker, id="goes-through-an-open-breaker"),
        pytest.param(lambda: many_probes, id="sends-many-probes"),
        pytest.param(lambda: impatient, id="gives-spot-up-too-soon"),
        pytest.param(lambda: hasty, id="rescues-on-suspicion"),
        pytest.param(lambda: credulous, id="believes-recommendations"),
        pytest.param(lambda: heedless, id="leaves-executors-on-nodes-that-go"),
        pytest.param(moody, id="decides-otherwise-on-another-day"),
        pytest.param(lambda: unexplained, id="counts-the-end-of-an-application-as-losses"),
    ],
)
def test_the_oracle_notices(broken: Callable[[], Decide]) -> None:
    assert any(is_noticed(seed, broken()) for seed in range(100))


def test_the_oracle_notices_a_checkpoint_that_forgets_vacant_seats(monkeypatch: pytest.MonkeyPatch) -> None:
    take = cp.take

    def lossy(state: FleetState, *, holder: str) -> cp.Checkpoint:
        saved = take(state, holder=holder)
        return replace(saved, applications={k: replace(app, vacancies=()) for k, app in saved.applications.items()})

    monkeypatch.setattr(cp, "take", lossy)
    assert any(is_noticed(seed, controller.decide) for seed in range(300))


def is_noticed(seed: int, decide: Decide) -> bool:
    try:
        simulation.play(*search.drawn(seed, 150), decide)
    except Wrong:
        return True
    return False
