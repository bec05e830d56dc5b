"""The oracle: what must be true of a fleet, whatever went wrong, judged from the audit log and what is left in the end.

It trusts no account of the controller's: its report is one of the things that are judged (`report_checks`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos import actors
from tests.chaos.history import Executor, History, overlap, read

if TYPE_CHECKING:
    from tests.chaos.play import Evidence
    from tests.chaos.schedule import Setup

# No executor is gated for longer while a controller is up and connected, nor does a fleet wait longer for one that is;
# a machine that has no time for the play has none for the controllers either.
GATED_SECONDS = 10.0
# A call that is on its way when another controller takes over may still arrive.
ON_ITS_WAY_SECONDS = 1.5
# A patch whose pod is deleted meanwhile gives nobody a seat.
IN_FLIGHT_SECONDS = 3.0
# As the schedules' policy says (fleet.POLICY).
BREAKER_LOSSES, SPOT_PENDING_SECONDS = 3, 4.0
# A controller knows the API server's clock as well as that.
CLOCK_SECONDS = 1.0


@dataclass(frozen=True)
class Finding:
    """Something that must not be. ``kind`` stays the same while a schedule is made smaller."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True)
class Case:
    """What is judged."""

    evidence: Evidence
    history: History

    @property
    def setup(self) -> Setup:
        return self.evidence.schedule.setup

    @property
    def over(self) -> float:
        """When nothing that becomes of an executor matters any more."""
        return self.history.over or self.history.last

    def has_returned(self, executor: Executor) -> bool:
        """Whether it was moved to where its seat belongs, as the policy asked for."""
        moved = executor.deleted_by.startswith(actors.CONTROLLER) and executor.placed_pool != executor.seat_pool
        return bool(self.setup.active_return_seconds) and moved and not executor.disruption


def judge(evidence: Evidence) -> list[Finding]:
    """Everything that is wrong."""
    from tests.chaos.report_checks import REPORT_CHECKS

    case = Case(evidence, read(evidence.lines, controller=actors.CONTROLLER))
    return [finding for check in (*CHECKS, *REPORT_CHECKS) for finding in check(case)]


def it_came_to_an_end(case: Case) -> Iterator[Finding]:
    """Every loss is replaced, so that the application has all its executors at last, and ends."""
    if case.evidence.stuck:
        yield Finding("stuck", case.evidence.stuck)


def the_job_is_right(case: Case) -> Iterator[Finding]:
    """Real Spark's job checks its own result; nothing that is played is a reason to fail."""
    words = [word for _, word in case.history.states]
    if case.evidence.schedule.real and not case.evidence.stuck and "COMPLETED" not in words:
        yield Finding("job", f"it ended as {words[-1:]}")


def nobody_waits_at_the_gate(case: Case) -> Iterator[Finding]:
    for executor in case.history.executors.values():
        ends = [at for at in (executor.ungated, executor.left, case.over) if at is not None]
        for begin, end in overlap((executor.created, min(ends)), case.history.in_charge()):
            if end - begin > GATED_SECONDS + case.evidence.stalled_seconds:
                yield Finding("gated", f"{executor.name} for {end - begin:.1f} s while a controller was in charge")


def nobody_waits_for_a_controller(case: Case) -> Iterator[Finding]:
    """A controller that is up and connected takes the fleet over in time."""
    busy = case.history.in_charge()
    for begin, end in case.history.alive():
        idle_since = begin
        for since, until in [*overlap((begin, end), busy), (end, end)]:
            idle = min(since, case.over) - idle_since
            if idle > GATED_SECONDS + case.evidence.stalled_seconds:
                yield Finding("idle", f"nobody held the fleet for {idle:.1f} s, though a controller was there")
            idle_since = until


def every_seat_has_one_holder(case: Case) -> Iterator[Finding]:
    for _, submission in case.history.submissions:
        placed = _placed(case.history.of(submission))
        for number, executor in enumerate(placed):
            for other in placed[:number]:
                at = executor.ungated or 0.0
                if other.seat == executor.seat and other.is_live(at) and executor.is_live(at):
                    yield Finding("seat-twice", f"{executor.name} was placed on seat {other.seat} of {other.name}")


def the_mix_is_kept(case: Case) -> Iterator[Finding]:
    """Within one of the target at every moment, by the labels as patched, as far as nobody is on the way."""
    if case.setup.dynamic:
        return
    for _, submission in case.history.submissions:
        everybody = case.history.of(submission)
        house: dict[int, str] = {}
        for executor in _placed(everybody):
            at = executor.ungated or 0.0
            if executor.seat is None or not executor.is_live(at):
                continue
            house[executor.seat] = executor.seat_pool
            yield from _mix_of(case, house, coming=_coming(everybody, at))


def _coming(everybody: list[Executor], at: float) -> int:
    """How many waited then, or had waited just before: each may have been given a seat that no label shows yet."""
    waiting = [e for e in everybody if e.is_gated(at)]
    given_up = [e for e in everybody if e.ungated is None and e.left and at - IN_FLIGHT_SECONDS < e.left <= at]
    return len(waiting) + len(given_up)


def _mix_of(case: Case, house: dict[int, str], *, coming: int) -> Iterator[Finding]:
    counts, seats = Counter(house.values()), len(house) + coming
    base = min(case.setup.base, case.setup.executors)
    spot, on_demand = case.setup.shares
    share = max(0, seats - base) * spot / (spot + on_demand)
    for pool, target in (("spot", share), ("on-demand", seats - share)):
        low, high = target - 1 - coming, target + 1
        if not low <= counts[pool] <= high:
            yield Finding("mix", f"{dict(counts)} seats ({coming} coming): {pool} is off its target {target:.1f}")
    if not coming and counts["on-demand"] < min(base, seats):
        yield Finding("base", f"{counts['on-demand']} on-demand seats of {seats}; the base is {base}")


def nobody_is_placed_off_its_seat_without_a_loss(case: Case) -> Iterator[Finding]:
    for _, submission in case.history.submissions:
        everybody = case.history.of(submission)
        fallbacks = 0
        for executor in _placed(everybody):
            if executor.placed_pool == executor.seat_pool:
                continue
            fallbacks += 1
            lost = [e for e in everybody if e.left is not None and e.left <= (executor.ungated or 0.0)]
            # From so many losses on, the breaker keeps off spot also those who replace nobody.
            allowed = fallbacks <= len(lost) or _losses_before(case, executor) >= BREAKER_LOSSES
            if executor.placed_pool != "on-demand" or not allowed:
                said = f"{executor.name} is on {executor.placed_pool}, its seat {executor.seat} on {executor.seat_pool}"
                yield Finding("fallback-without-loss", said)


def only_the_holder_places(case: Case) -> Iterator[Finding]:
    for executor in case.history.executors.values():
        if executor.ungated is None:
            continue
        if not executor.placed_by.startswith(actors.CONTROLLER):
            yield Finding("gate", f"{executor.name}'s gate was lifted by {executor.placed_by or 'nobody'}")
            continue
        since, holder = case.history.holder(executor.ungated)
        if holder and holder != executor.placed_by and executor.ungated - since > ON_ITS_WAY_SECONDS:
            yield Finding("fencing", f"{executor.name} was placed by {executor.placed_by}, but {holder} held the fleet")


def no_healthy_executor_is_removed(case: Case) -> Iterator[Finding]:
    for executor in case.history.executors.values():
        if executor.deleting is None or not executor.deleted_by.startswith(actors.CONTROLLER):
            continue
        if case.has_returned(executor):
            continue
        node = case.history.nodes.get(executor.node)
        troubled = node is not None and node.in_trouble(executor.deleting)
        waited = executor.deleting - (executor.ungated or executor.deleting)
        if not executor.node and waited < SPOT_PENDING_SECONDS - CLOCK_SECONDS and executor.deleting < case.over:
            yield Finding("removed", f"{executor.name}, which had waited for a node for {waited:.1f} s")
        if executor.node and not troubled and not executor.disruption and executor.deleting < case.over:
            yield Finding("removed", f"{executor.name} on {executor.node}, of which nobody had said anything")


def nothing_is_left(case: Case) -> Iterator[Finding]:
    if case.evidence.left:
        yield Finding("left", ", ".join(case.evidence.left))
    if case.evidence.unswept:
        yield Finding("left", f"without a sweep: {', '.join(case.evidence.unswept)}")


def no_secret_is_told(case: Case) -> Iterator[Finding]:
    told = [*case.evidence.logs.items(), *case.history.written, ("report", str(case.evidence.report))]
    for where, text in told:
        if any(secret in text for secret in case.evidence.secrets):
            yield Finding("secret", f"in {where}")


def no_controller_breaks(case: Case) -> Iterator[Finding]:
    for name, log in case.evidence.logs.items():
        if "Traceback (most recent call last)" in log:
            yield Finding("crash", f"{name}: {log[-1500:]}")


CHECKS: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    it_came_to_an_end,
    the_job_is_right,
    nobody_waits_at_the_gate,
    nobody_waits_for_a_controller,
    every_seat_has_one_holder,
    the_mix_is_kept,
    nobody_is_placed_off_its_seat_without_a_loss,
    only_the_holder_places,
    no_healthy_executor_is_removed,
    nothing_is_left,
    no_secret_is_told,
    no_controller_breaks,
)


def _losses_before(case: Case, executor: Executor) -> int:
    return sum(e.left is not None and e.left < (executor.ungated or 0.0) for e in case.history.executors.values())


def _placed(executors: list[Executor]) -> list[Executor]:
    """Those that were placed, in the order in which they were."""
    return sorted((e for e in executors if e.ungated is not None), key=lambda e: e.ungated or 0.0)
