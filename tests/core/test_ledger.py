"""The ledger so far: what is gone and what is there, each executor once, at any moment."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core.events import AnyEvent, ApplicationPhase
from airflow_provider_spotmix.core.ledger import entered, so_far
from airflow_provider_spotmix.core.spec import ApplicationSpec
from airflow_provider_spotmix.core.state import Account, FleetState, OpenAccount
from tests.core.vocabulary import (
    APP,
    NOON,
    ON_DEMAND,
    SPOT,
    account,
    application,
    deleting,
    fleet,
    gone,
    observed,
    pod,
    run,
    running,
    started,
    synced,
)

TWO = fleet("50:50", executors=2)  # number 1 is on on-demand, number 2 on spot
SPOT_ONE = running(2, seat=1, pool=SPOT, since=10)


@pytest.mark.parametrize(
    ("events", "spot"),
    [
        pytest.param((observed(pod(2)),), None, id="nobody-before-a-placement"),
        pytest.param((observed(replace(SPOT_ONE, node="", scheduled_at=None)),), None, id="nobody-before-a-node"),
        pytest.param((observed(SPOT_ONE, 12),), account(1, 90), id="from-scheduled-to-now"),
        pytest.param((observed(SPOT_ONE, 12), deleting(SPOT_ONE, 50)), account(1, 90), id="who-goes-holds-the-node"),
        pytest.param((observed(SPOT_ONE, 12), gone(SPOT_ONE, 50)), account(1, 40), id="who-is-gone-does-not"),
        pytest.param(
            (observed(SPOT_ONE, 12), gone(SPOT_ONE, 50, estimated=True)),
            account(1, 40, estimated=True, unseen=38),
            id="missed",
        ),
    ],
)
def test_a_life(events: tuple[AnyEvent, ...], spot: Account | None) -> None:
    assert so_far(run(TWO, synced(), *events), NOON + 100).get(SPOT) == spot


def test_what_a_checkpoint_has_open_counts_until_everything_was_seen() -> None:
    state = started(TWO)
    restored = cp.restore(FleetState.new(TWO), cp.take(state, holder="other"))
    here = run(restored, observed(running(1, seat=0, pool=ON_DEMAND), 60))
    assert so_far(here, NOON + 100) == {
        ON_DEMAND: account(1, 100),
        SPOT: account(1, 100, estimated=True, unseen=100),
    }


def test_at_the_end_it_is_the_ledger() -> None:
    ends = [gone(running(number, seat=number - 1, pool=pool), 70) for number, pool in ((1, ON_DEMAND), (2, SPOT))]
    state = run(started(TWO), *ends, application(ApplicationPhase.SUCCEEDED, 71))
    assert so_far(state, NOON + 500) == state.ledger


def test_a_clock_that_is_behind_takes_nothing_away() -> None:
    assert so_far(started(TWO), NOON - 5) == {ON_DEMAND: account(1, 0), SPOT: account(1, 0)}


def test_the_least_of_groups_that_request_different_amounts() -> None:
    small, large = (
        ApplicationSpec(name=name, executors=1, cores=c, memory_gib=4 * c) for name, c in (("s", 1), ("l", 4))
    )
    spec = replace(TWO, applications=(small, large))
    found = Account()
    for request, estimated in ((small, True), (large, False)):
        opened = OpenAccount(SPOT, NOON, NOON + 40)
        found = entered(found, request, opened, until=NOON + 50, estimated=estimated)
    assert found.at_least(spec) == Account(
        executors=2, seconds=90, core_seconds=250 - 40, gib_seconds=1000 - 160, estimated=True
    )


lives = st.lists(
    st.tuples(
        st.sampled_from([SPOT, ON_DEMAND]),
        st.floats(0, 1e5).map(lambda at: round(at, 3)),
        st.floats(0, 1e6).map(lambda seconds: round(seconds, 3)),
    ),
    max_size=200,
)


@given(lives)
def test_thousands_of_additions_drift_by_less_than_a_millisecond(found: list[tuple[str, float, float]]) -> None:
    """Times are milliseconds since the epoch, as the API server and our own clock give them."""
    request = ApplicationSpec(name=APP, executors=1, cores=0.1, memory_gib=1.1)
    ledger: dict[str, Account] = {}
    exact: dict[str, Decimal] = {}
    for _ in range(50):
        for pool, since, lasted in found:
            opened = OpenAccount(pool, NOON + since)
            known = ledger.get(pool, Account())
            ledger[pool] = entered(known, request, opened, until=NOON + since + lasted, estimated=False)
            exact[pool] = exact.get(pool, Decimal(0)) + Decimal(str(lasted))
    for pool, seconds in exact.items():
        assert abs(Decimal(ledger[pool].seconds) - seconds) < Decimal("0.001") * max(1, len(found) * 50 // 1000)
