"""The journal: lines that say what happened and what was decided, and that can be decided again."""

from __future__ import annotations

import subprocess
import sys

from airflow_provider_spotmix.core import journal
from airflow_provider_spotmix.core.actions import AnyAction, Finish, Place, Rescue, SaveCheckpoint, Tell
from airflow_provider_spotmix.core.state import FleetState
from tests.core.search import drawn
from tests.core.simulation import play
from tests.core.vocabulary import fleet, observed, pod, synced


def test_a_line_is_what_a_person_can_read() -> None:
    state = FleetState.new(fleet())
    _, (_, entry) = journal.replay(state, [synced(), observed(pod(1), at=1)])
    assert journal.encode(entry) == (
        b'{"event":{"type":"ExecutorObserved","at":1800000001.0,"id":"pods/etl-exec-1@1","application":"etl",'
        b'"submission":"sub-1","pod":{"uid":"uid-1","name":"etl-exec-1","executor_id":1,"gated":true,'
        b'"created_at":1800000000.0}},"actions":[{"type":"Place","cause":"pods/etl-exec-1@1","uid":"uid-1",'
        b'"pod":"etl-exec-1","seat":0,"seat_pool":"on-demand","pool":"on-demand","reason":"seat of the mix",'
        b'"at":1800000001.0},'
        b'{"type":"SaveCheckpoint","cause":"pods/etl-exec-1@1"}]}'
    )


def test_all_events_and_actions_survive_being_written_down() -> None:
    actions: tuple[AnyAction, ...] = (
        Place(cause="c", uid="u", pod="p", seat=1, seat_pool="spot", pool="on-demand", reason="r"),
        Rescue(cause="c", uid="u", pod="p", node="n"),
        SaveCheckpoint(cause="c"),
        Tell(cause="c", message="m", warning=True),
        Finish(cause="c", succeeded=False, message="m"),
    )
    entries = [journal.Entry(entry.event, actions) for entry in lively()]
    assert {type(entry.event).__name__ for entry in entries} >= {"ExecutorObserved", "ExecutorDeleted", "NodeObserved"}
    assert list(journal.read(journal.encode(entry) for entry in entries)) == entries


def test_empty_lines_are_skipped() -> None:
    lines = [journal.encode(entry) for entry in lively()[:2]]
    assert len(list(journal.read([lines[0], b"\n", "", lines[1] + b"\n"]))) == 2


def test_another_process_repeats_the_decisions() -> None:
    """Hashes of strings differ from process to process, and nothing may depend on them."""
    code = (
        "import sys; from tests.core.test_journal import lively; from airflow_provider_spotmix.core import journal\n"
        "sys.stdout.buffer.write(b'\\n'.join(map(journal.encode, lively())))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert told.stdout.splitlines() == [journal.encode(entry) for entry in lively()]


def lively() -> list[journal.Entry]:
    """The last controller's journal of a run in which much happens."""
    return play(*drawn(seed=4, length=200)).run.entries
