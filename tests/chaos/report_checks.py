"""What the oracle asks of the report: the right result, every fallback and loss, and honest seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from tests.chaos import actors
from tests.chaos.history import Executor, overlap
from tests.chaos.oracle import Case, Finding

# Of one executor: when it was scheduled and when it ended is told in whole seconds.
SECONDS_OF_ONE = 2.0
# What happens so shortly before the end may be seen after it.
BEFORE_THE_END_SECONDS = 2.0
# Deletes what belongs to something that is gone, such as executors to their driver.
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
# A controller that was in charge for so long after a loss has seen it and written it down.
SEEN_SECONDS = 3.0


def the_result_is_right(case: Case) -> Iterator[Finding]:
    report, words = case.evidence.report, [word for _, word in case.history.states]
    if report is None:
        if not case.evidence.stuck and not case.history.namespace_deleted:
            yield Finding("result", "there is no report")
        return
    deleted = case.history.application_deleted
    by_person = deleted is not None and deleted[1] == actors.PERSON
    expected = "succeeded" if "COMPLETED" in words and not by_person else "failed"
    if report["result"] != expected:
        yield Finding("result", f"{report['result']} ({report['message']}), but the application was {words[-1:]}")


def every_fallback_is_listed(case: Case) -> Iterator[Finding]:
    if (report := case.evidence.report) is None or _is_forgotten(case):
        return
    listed = {each["executor"]: each for each in report["fallbacks"]}
    fallen = {e.name: e for e in case.history.executors.values() if e.ungated and e.placed_pool != e.seat_pool}
    for name, executor in fallen.items():
        told = listed.get(name)
        if executor.ungated is None or not executor.is_live(executor.ungated) or executor.ungated > case.over:
            continue
        if executor.ungated < max(case.history.checkpoint_deleted, default=0.0):
            continue  # somebody has deleted what was written down of it
        if told is None:
            yield Finding("fallback-unlisted", f"{name} is on {executor.placed_pool} instead of {executor.seat_pool}")
        elif told["pool"] != executor.placed_pool or not told["cause"]:
            yield Finding("fallback-unlisted", f"{name} is told as {told}")
    for name, told in listed.items():
        if name not in fallen:
            yield Finding("fallback-invented", f"{told}")


def every_loss_is_told(case: Case) -> Iterator[Finding]:
    """Losses under a controller's eyes, and all of the last submission; under dynamic allocation nobody can know."""
    if case.evidence.report is None or case.setup.dynamic or _is_forgotten(case):
        return
    losses = _losses(case)
    told = {loss["executor"] for loss in losses}
    last = case.history.submissions[-1][1] if case.history.submissions else ""
    for executor in case.history.of(last):
        left = executor.left
        if left is None or left > case.over - BEFORE_THE_END_SECONDS or not _was_placed(executor):
            continue
        if left < max(case.history.checkpoint_deleted, default=0.0):
            continue  # somebody has deleted what was written down of it
        if sum(end - begin for begin, end in overlap((left, case.over), case.history.in_charge())) < SEEN_SECONDS:
            continue  # nobody was there to see that it was missing
        if case.has_returned(executor):
            continue
        if not (executor.disruption or executor.killed_by_memory or _is_replaced(case, executor)):
            continue  # a deletion that nothing explains may be the beginning of the end
        if not told & {executor.name, f"executor {executor.number}"}:
            yield Finding("loss-untold", f"{executor.name} left {case.over - left:.1f} s before the end")


def a_loss_that_was_seen_is_not_guessed(case: Case) -> Iterator[Finding]:
    """Who went under a controller's eyes, long enough to write it down, is told by name, whatever came later."""
    if case.evidence.report is None or case.setup.dynamic or case.history.checkpoint_deleted:
        return
    told = {loss["executor"] for loss in _losses(case)}
    eyes = case.history.in_charge()
    for executor in case.history.executors.values():
        if executor.left is None or not (executor.disruption and _was_placed(executor)):
            continue
        if executor.deleted_by == COLLECTOR:
            continue  # it went with its driver
        was_seen = any(begin + 1.0 < executor.left < end - SEEN_SECONDS for begin, end in eyes)
        if was_seen and executor.left < case.over - SEEN_SECONDS and executor.name not in told:
            yield Finding("loss-forgotten", f"{executor.name} ({executor.disruption}) went under a controller's eyes")


def every_told_loss_is_true(case: Case) -> Iterator[Finding]:
    by_name = {e.name: e for e in case.history.executors.values()}
    for loss in _losses(case):
        executor = by_name.get(loss["executor"])
        if executor is None:
            continue
        if executor.left is None:
            yield Finding("loss-invented", f"{executor.name} never left: {loss}")
        elif loss["cause"] == "spot-interruption" and not _is_taken_by_the_cloud(case, executor):
            yield Finding("cause", f"{executor.name} was not taken by the cloud: {loss}")
        elif loss["cause"] == "application" and not (executor.ended and executor.finished):
            yield Finding("cause", f"{executor.name} did not fail by itself: {loss}")


def the_seconds_are_right(case: Case) -> Iterator[Finding]:
    """By placed pool: as many executors as held a node, and as long; or estimated, and then not too few."""
    if (report := case.evidence.report) is None:
        return
    held: dict[str, list[float]] = defaultdict(list)
    for executor in case.history.executors.values():
        until = executor.released_node
        if executor.placed_pool and executor.scheduled is not None:
            held[executor.placed_pool].append(max(0.0, (until or case.history.last) - executor.scheduled))
    for pool in {*held, *report["ledger"]}:
        told: dict[str, Any] = report["ledger"].get(pool) or _NOBODY
        count, total, seconds = len(held[pool]), sum(held[pool]), told["executor_seconds"]
        slack = SECONDS_OF_ONE * max(count, 1)
        if told["executors"] != count and not told["estimated"]:
            yield Finding("ledger", f"{pool}: {told['executors']} executors, there were {count}")
        if not told["estimated"] and abs(seconds - total) > slack:
            yield Finding("ledger", f"{pool}: {seconds} s, there were {total:.1f} of {count} executors")
        least = told["executor_seconds_at_least"]
        is_bounded = told["estimated"] and not told["incomplete"]
        if is_bounded and told["executors"] != count:
            yield Finding("ledger", f"{pool}: estimated, with {told['executors']} executors, but there were {count}")
        if told["estimated"] and (least > total + slack or (is_bounded and seconds < total - slack)):
            yield Finding("ledger", f"{pool}: estimated {least} to {seconds} s, there were {total:.1f}")


_NOBODY = {
    "executors": 0,
    "executor_seconds": 0.0,
    "executor_seconds_at_least": 0.0,
    "estimated": False,
    "incomplete": False,
}

REPORT_CHECKS: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    the_result_is_right,
    every_fallback_is_listed,
    every_loss_is_told,
    a_loss_that_was_seen_is_not_guessed,
    every_told_loss_is_true,
    the_seconds_are_right,
)


def _losses(case: Case) -> list[dict[str, Any]]:
    report = case.evidence.report or {kind: [] for kind in _LOSSES}
    return [loss for kind in _LOSSES for loss in report[kind]]


_LOSSES = ("interruptions", "failures", "unobtainable")


def _is_forgotten(case: Case) -> bool:
    """Somebody deleted the application while no controller was there: what was written down has gone with it."""
    deleted = case.history.application_deleted
    ended = any(word in ("COMPLETED", "FAILED") for _, word in case.history.states)
    return deleted is not None and not ended and not any(a < deleted[0] < b for a, b in case.history.in_charge())


def _is_replaced(case: Case, executor: Executor) -> bool:
    after = [e for e in case.history.of(executor.submission) if (e.ungated or 0.0) > (executor.left or 0.0)]
    return any(e.seat == executor.seat and _was_placed(e) for e in after)


def _was_placed(executor: Executor) -> bool:
    return executor.ungated is not None and executor.is_live(executor.ungated)


def _is_taken_by_the_cloud(case: Case, executor: Executor) -> bool:
    node = case.history.nodes.get(executor.node)
    told = bool(executor.disruption or executor.reason in ("Terminated", "NodeLost"))
    troubled = node is not None and node.in_trouble(case.history.last)
    return executor.placed_pool == "spot" and (told or troubled)
