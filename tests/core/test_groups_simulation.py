"""Random lives of a group whose executors are born on their pool, with controllers that die and take over."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Place, SaveCheckpoint
from airflow_provider_spotmix.core.controller import decide
from airflow_provider_spotmix.core.events import ApplicationPhase, PodFacts
from airflow_provider_spotmix.core.state import FleetState, violations
from tests.core.test_groups import A, grouped, lost, seen, up
from tests.core.vocabulary import application, gone, synced

SPEC = replace(grouped(executors=4), applications=grouped(executors=4).applications[:1])


class Life:
    """Spark keeps as many executors as it was told; the controller hears of it while it is up."""

    def __init__(self) -> None:
        self.pods: dict[int, PodFacts] = {}
        self.last = self.clock = self.lost = 0
        self.state = FleetState.new(SPEC)
        self.saved = cp.encode(cp.take(self.state, holder="me"))
        self.up = self.was_down = False
        self.take_over(0)

    def hear(self, event: ev.AnyEvent) -> None:
        if not self.up:
            return
        decision = decide(self.state, event)
        self.state = decision.state
        assert violations(self.state) == []
        for action in decision.actions:
            assert not isinstance(action, Place)
            if isinstance(action, SaveCheckpoint):
                self.saved = cp.encode(cp.take(self.state, holder="me"))

    def ask(self, _: int) -> None:
        while len(self.pods) < SPEC.executors:
            self.last += 1
            self.pods[self.last] = up(self.last)
            self.hear(seen(self.pods[self.last], self.clock))

    def lose(self, which: int) -> None:
        if self.pods:
            pod = self.pods.pop(sorted(self.pods)[which % len(self.pods)])
            self.lost += 1
            self.hear(lost(pod, self.clock))
            self.hear(gone(pod, self.clock, app=A, submission=f"{A}-1"))

    def die(self, _: int) -> None:
        self.up, self.was_down = False, True

    def take_over(self, _: int) -> None:
        self.state, self.up = cp.restore(FleetState.new(SPEC), cp.decode(self.saved)), True
        for pod in self.pods.values():
            self.hear(seen(pod, self.clock))
        self.hear(application(ApplicationPhase.RUNNING, self.clock, app=A))
        self.hear(synced(self.clock))


steps_of_life = st.sampled_from(["ask", "lose", "lose", "die", "take_over"])


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from(["ask", "lose", "lose", "die", "take_over"]), st.integers(0, 9)), max_size=30)
)
def test_every_executor_has_a_seat_and_every_loss_counts_at_most_once(steps: list[tuple[str, int]]) -> None:
    life = Life()
    life.ask(0)
    for name, which in steps:
        getattr(life, name)(which)
        life.clock += 1
    life.take_over(0)
    life.ask(0)
    app = life.state.applications[A]
    assert sorted(e.seat for e in app.seated() if e.seat is not None) == list(range(SPEC.executors))
    assert (dict(app.vacancies), app.seats()) == ({}, {"spot": SPEC.executors})
    counted = sum(life.state.losses_by_cause.values())
    assert counted == life.lost or (life.was_down and counted < life.lost), "unseen ones cannot be counted"
    assert counted == len(life.state.replacements)
