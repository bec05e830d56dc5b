"""The API server's clock, from the dates of its answers."""

from __future__ import annotations

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spotmix.kube.clock import ServerClock

NOON = 1_800_000_000.0


class Times:
    """Our own clock and the monotonic one; what passes, passes on both."""

    def __init__(self, wall: float) -> None:
        self.wall = wall
        self.monotonic = 1000.0

    def clock(self) -> ServerClock:
        return ServerClock(wall=lambda: self.wall, monotonic=lambda: self.monotonic)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def answer(clock: ServerClock, times: Times, skew: float, before: float, after: float) -> None:
    """One request: so long until the server answers, and until the answer arrives."""
    asked = clock.asked()
    times.passes(before)
    clock.told(formatdate(int(times.wall + skew), usegmt=True), asked)
    times.passes(after)


def test_ours_counts_until_the_server_has_spoken_and_as_long_as_it_may_be_right() -> None:
    times = Times(NOON + 0.25)
    clock = times.clock()
    assert clock.now() == times.wall
    for _ in range(20):
        answer(clock, times, 0, 0.01, 0.3)
        assert clock.now() == times.wall


@given(
    skew=st.floats(-1e6, 1e6),
    answers=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 60)), min_size=1, max_size=20),
)
def test_a_skew_is_found_within_a_second_and_the_time_of_the_quickest_answer(
    skew: float, answers: list[tuple[float, float]]
) -> None:
    times = Times(NOON)
    clock = times.clock()
    for before, after in answers:
        answer(clock, times, skew, before, after)
    error = clock.now() - (times.wall + skew)
    assert abs(error) <= 1.001 + min(before for before, _ in answers)


def test_many_answers_tell_it_more_precisely() -> None:
    times = Times(NOON)
    clock = times.clock()
    for _ in range(50):
        answer(clock, times, 45.5, 0.005, 0.137)
    assert abs(clock.now() - (times.wall + 45.5)) < 0.15


def test_a_clock_that_is_set_is_followed() -> None:
    times = Times(NOON)
    clock = times.clock()
    answer(clock, times, 0, 0.01, 1)
    times.wall += 3600  # ours is set: the server's goes on
    answer(clock, times, -3600, 0.01, 1)
    assert abs(clock.now() - (times.wall - 3600)) < 1.1
    answer(clock, times, -1800, 0.01, 1)  # and now the server's is
    assert abs(clock.now() - (times.wall - 1800)) < 1.1


def test_nonsense_changes_nothing() -> None:
    times = Times(NOON)
    clock = times.clock()
    for date in (None, "", "yesterday", "Tue, 32 Foo 2026 99:99:99 GMT"):
        clock.told(date, clock.asked())
    assert clock.now() == NOON
