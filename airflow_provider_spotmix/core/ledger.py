"""The ledger at a time: what executors that are gone have used, and those that are there so far. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_spotmix.core.spec import ApplicationSpec
from airflow_provider_spotmix.core.state import Account, ApplicationState, FleetState, OpenAccount


def so_far(state: FleetState, now: float) -> dict[str, Account]:
    """Return the accounts by placed pool as if all of them were closed now.

    Args:
        state: of a fleet that is looked after, or was.
        now: seconds since the epoch, by the clock that the state's events have.

    """
    found = dict(state.ledger)
    for request in state.spec.applications:
        app = state.applications[request.name]
        for opened, is_here in _opened(app):
            found[opened.pool] = entered(
                found.get(opened.pool, Account()), request, opened, until=now, estimated=not is_here
            )
    return found


def entered(
    account: Account, request: ApplicationSpec, opened: OpenAccount, *, until: float, estimated: bool
) -> Account:
    """Add the time that an executor held a node, from when it was scheduled to when it went or was missed.

    Args:
        account: of its pool.
        request: its application.
        opened: since when it held a node, and when it was last seen there.
        until: when it went; with ``estimated`` when it was missed.
        estimated: whether it went unseen.

    """
    seconds = max(0.0, until - opened.since)
    unseen = min(seconds, max(0.0, until - opened.seen)) if estimated else 0.0
    return Account(
        executors=account.executors + 1,
        seconds=account.seconds + seconds,
        unseen_seconds=account.unseen_seconds + unseen,
        core_seconds=account.core_seconds + seconds * request.cores,
        gib_seconds=account.gib_seconds + seconds * request.memory_gib,
        estimated=account.estimated or estimated,
        incomplete=account.incomplete,
    )


def _opened(app: ApplicationState) -> Iterator[tuple[OpenAccount, bool]]:
    """Executors that hold a node now, and those that an earlier controller left and nobody has found yet."""
    numbers = set()
    for executor in app.executors.values():
        pod = executor.pod
        numbers.add(pod.executor_id)
        if not executor.accounted and executor.placed_pool and pod.scheduled_at is not None:
            yield OpenAccount(executor.placed_pool, pod.scheduled_at, executor.seen_at), True
    for number, opened in app.open_accounts.items():
        if number not in numbers:
            yield opened, False
    for opened in app.leaving.values():
        yield opened, True
