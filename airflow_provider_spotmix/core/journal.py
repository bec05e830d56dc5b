"""The journal: every event with the actions it led to. Replaying one repeats its decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from airflow_provider_spotmix.core.actions import AnyAction
from airflow_provider_spotmix.core.controller import decide
from airflow_provider_spotmix.core.events import AnyEvent
from airflow_provider_spotmix.core.state import FleetState


class Entry(Struct, frozen=True):
    """One decision."""

    event: AnyEvent
    actions: tuple[AnyAction, ...] = ()


_DECODER = msgspec.json.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """One line of a journal file, without the line end."""
    return msgspec.json.encode(entry)


def read(lines: Iterable[bytes | str]) -> Iterator[Entry]:
    """Entries of a journal file."""
    return (_DECODER.decode(line) for line in lines if line.strip())


def replay(state: FleetState, events: Iterable[AnyEvent]) -> tuple[FleetState, list[Entry]]:
    """Decide about every event in order; the final state and the journal that comes of it."""
    entries = []
    for event in events:
        decision = decide(state, event)
        entries.append(Entry(event, decision.actions))
        state = decision.state
    return state, entries
