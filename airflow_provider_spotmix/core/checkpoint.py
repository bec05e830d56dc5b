"""The checkpoint: what pod labels do not carry, small, versioned, written on losses and closings.

It lives in one ConfigMap per fleet that the fleet's applications own, so it goes when they go.
"""

from __future__ import annotations

import base64
import binascii
import zlib

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_spotmix.core.errors import CheckpointError, SpoiltCheckpointError
from airflow_provider_spotmix.core.history import (
    Breaker,
    BreakerChange,
    Fallback,
    Loss,
    Outage,
    Replacement,
    Resubmission,
    Return,
    Vacancy,
)
from airflow_provider_spotmix.core.state import Account, ApplicationState, FleetState, OpenAccount
from airflow_provider_spotmix.core.table import Numbers

SCHEMA = 1
# A ConfigMap may have 1 MiB. Thousands of executors lost at once take more than that as plain text, and a tenth
# compressed.
READABLE_BYTES = 256 * 1024
COMPRESSED = "zlib+base64:"


class ApplicationCheckpoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One application's part."""

    submission: str
    vacancies: tuple[Vacancy, ...] = ()
    highest_executor_id: int = 0
    released_ids: tuple[tuple[int, int], ...] = ()  # first and last of each unbroken run
    past_submissions: tuple[str, ...] = ()
    open_accounts: dict[int, OpenAccount] = {}
    losses: dict[str, int] = {}
    fallback_ids: tuple[tuple[int, int], ...] = ()
    leaving: dict[str, OpenAccount] = {}


class Checkpoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a controller that takes over must know.

    ``holder``: the Lease of the controller that wrote it; empty when that has left in order, at ``left_at``.
    """

    schema: int
    fleet_id: str
    holder: str = ""
    applications: dict[str, ApplicationCheckpoint] = {}
    initial: dict[str, int] | None = None
    losses: tuple[Loss, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    losses_by_cause: dict[str, int] = {}
    replacements_by_pool: dict[str, int] = {}
    ledger: dict[str, Account] = {}
    gate_latencies_ms: tuple[float, ...] = ()
    resubmissions: dict[str, Resubmission] = {}
    fallbacks: tuple[Fallback, ...] = ()
    fallbacks_by_cause: dict[str, int] = {}
    returns: tuple[Return, ...] = ()
    returns_by_pool: dict[str, int] = {}
    breakers: dict[str, Breaker] = {}
    breaker_changes: tuple[BreakerChange, ...] = ()
    returned_at: float = 0.0
    outages: tuple[Outage, ...] = ()
    left_at: float = 0.0


def take(
    state: FleetState, *, holder: str, gate_latencies_ms: tuple[float, ...] = (), left_at: float = 0.0
) -> Checkpoint:
    """Take the checkpoint of a state."""
    return Checkpoint(
        schema=SCHEMA,
        fleet_id=state.spec.fleet_id,
        holder=holder,
        applications={
            app.name: ApplicationCheckpoint(
                submission=app.submission,
                vacancies=_vacancies(app),
                highest_executor_id=app.highest_executor_id,
                released_ids=tuple(app.released_ids.runs()),
                past_submissions=app.past_submissions,
                open_accounts=_open_accounts(app),
                losses=app.losses,
                fallback_ids=tuple(app.fallback_ids.runs()),
                leaving=app.leaving,
            )
            for app in state.applications.values()
        },
        initial=state.initial,
        losses=state.losses,
        replacements=state.replacements,
        losses_by_cause=state.losses_by_cause,
        replacements_by_pool=state.replacements_by_pool,
        ledger=state.ledger,
        gate_latencies_ms=gate_latencies_ms,
        resubmissions=state.resubmissions,
        fallbacks=state.fallbacks,
        fallbacks_by_cause=state.fallbacks_by_cause,
        returns=state.returns,
        returns_by_pool=state.returns_by_pool,
        breakers=state.breakers,
        breaker_changes=state.breaker_changes,
        returned_at=state.returned_at,
        outages=state.outages,
        left_at=left_at,
    )


def _vacancies(app: ApplicationState) -> tuple[Vacancy, ...]:
    """A placement in flight is not done: whoever takes over looks at the pod's labels."""
    filling = (e.filling for e in app.executors.values() if e.filling)
    return tuple(sorted((*app.vacancies.values(), *filling), key=lambda vacancy: vacancy.loss.seat))


def _open_accounts(app: ApplicationState) -> dict[int, OpenAccount]:
    """Executors that hold a node now. Their pods may be gone before the next controller can ask for how long."""
    return {e.pod.executor_id: opened for e in app.executors.values() if (opened := e.open_account)}


def restore(state: FleetState, checkpoint: Checkpoint) -> FleetState:
    """Put a checkpoint into a state of which nothing has been seen yet."""
    applications = dict(state.applications)
    for name, saved in checkpoint.applications.items():
        if name in applications:
            app = replace(
                applications[name],
                submission=saved.submission,
                highest_executor_id=saved.highest_executor_id,
                released_ids=Numbers.of_runs(saved.released_ids),
                past_submissions=saved.past_submissions,
                open_accounts=saved.open_accounts,
                losses=saved.losses,
                fallback_ids=Numbers.of_runs(saved.fallback_ids),
                leaving=saved.leaving,
                leaving_unseen=frozenset(saved.leaving),
                superseded=name in checkpoint.resubmissions and not checkpoint.resubmissions[name].void,
            )
            for vacancy in saved.vacancies:
                app = app.with_vacancy(vacancy)
            applications[name] = app
    return replace(
        state,
        applications=applications,
        remembered=bool(checkpoint.applications),  # a mere claim has none
        initial=checkpoint.initial,
        losses=checkpoint.losses,
        replacements=checkpoint.replacements,
        losses_by_cause=checkpoint.losses_by_cause,
        replacements_by_pool=checkpoint.replacements_by_pool,
        ledger=checkpoint.ledger,
        resubmissions=checkpoint.resubmissions,
        fallbacks=checkpoint.fallbacks,
        fallbacks_by_cause=checkpoint.fallbacks_by_cause,
        returns=checkpoint.returns,
        returns_by_pool=checkpoint.returns_by_pool,
        outages=checkpoint.outages,
        breakers=checkpoint.breakers,
        breaker_changes=checkpoint.breaker_changes,
        returned_at=checkpoint.returned_at,
    )


def encode(checkpoint: Checkpoint) -> str:
    """Text of a checkpoint: JSON that a person can read, compressed only when a storm has made it long."""
    plain = msgspec.json.encode(checkpoint)
    if len(plain) <= READABLE_BYTES:
        return plain.decode()
    return COMPRESSED + base64.b64encode(zlib.compress(plain)).decode()


def decode(text: str) -> Checkpoint:
    """Read a checkpoint of this version or an earlier one.

    Raises:
        CheckpointError: it was written by a newer version.
        SpoiltCheckpointError: it is no checkpoint.

    """
    try:
        plain = text.encode()
        if text.startswith(COMPRESSED):
            plain = zlib.decompress(base64.b64decode(plain[len(COMPRESSED) :], validate=True))
        found = msgspec.json.decode(plain, type=_Schema).schema
        if found > SCHEMA:
            raise CheckpointError(
                f"checkpoint schema is {found}, this version reads up to {SCHEMA}: upgrade airflow-provider-spotmix"
                " on the triggerer to at least the version that started this fleet"
            )
        return msgspec.json.decode(plain, type=Checkpoint)
    except (msgspec.DecodeError, binascii.Error, zlib.error) as error:
        raise SpoiltCheckpointError(f"the fleet's checkpoint cannot be read ({error})") from error


class _Schema(Struct):
    schema: int


def held_by(checkpoint: Checkpoint, holder: str) -> Checkpoint:
    """Return the same checkpoint with another holder."""
    return replace(checkpoint, holder=holder, left_at=0.0)
