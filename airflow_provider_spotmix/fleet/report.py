"""The fleet report: what the operator returns, what a person reads. Schema 1; later versions only add keys."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_spotmix.core.cost import Costs, costs
from airflow_provider_spotmix.core.history import Cause, Loss, Replacement, Resubmission
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.core.state import Account, FleetState
from airflow_provider_spotmix.fleet.overhead import Overhead

SCHEMA = 1
REPORTED_AS_INTERRUPTIONS = (Cause.SPOT_INTERRUPTION, Cause.INFRASTRUCTURE, Cause.UNKNOWN)


class Report(Struct, frozen=True, kw_only=True):
    """What became of a fleet.

    ``target``: seats by pool for the executors it started with. ``initial``: where they were first placed.
    ``interruptions``: executors lost to the infrastructure or for unknown reasons; ``failures``: to the application
    itself. ``applications``: an application that was ``given_up`` may still have run when the fleet ended.
    ``unobtainable``: executors that were removed because no spot node took them. ``fallbacks``: executors that were
    placed off their seats' pools; ``returns``: seats that came back. ``breaker``: when each spot pool's opened,
    half opened and closed. ``outages``: when the fleet was not looked after, and why. ``resubmissions``: groups
    that were lost and submitted again. ``ledger``: closed accounts by placed pool. ``costs``: of these; None
    without prices of all pools. ``gate_latency_ms``: from receiving a gated pod's event to the API server's answer
    to its placement, of the last few hundred placements.
    """

    schema: int
    fleet: str
    namespace: str
    placement: str
    result: str
    message: str
    applications: list[dict[str, Any]]
    mix: dict[str, Any]
    target: dict[str, int]
    initial: dict[str, int]
    interruptions: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    losses_by_cause: dict[str, int]
    replacements: list[dict[str, Any]]
    replacements_by_pool: dict[str, int]
    unobtainable: list[dict[str, Any]]
    fallbacks: list[dict[str, Any]]
    fallbacks_by_cause: dict[str, int]
    returns: list[dict[str, Any]]
    returns_by_pool: dict[str, int]
    breaker: list[dict[str, Any]]
    outages: list[dict[str, Any]]
    resubmissions: list[dict[str, Any]]
    ledger: dict[str, dict[str, Any]]
    costs: Costs | None
    gate_latency_ms: dict[str, float]
    overhead: Overhead | None

    @property
    def succeeded(self) -> bool:
        """Whether every application succeeded."""
        return self.result == "succeeded"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as XCom takes them."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def build(
    state: FleetState,
    *,
    succeeded: bool,
    message: str,
    gate_latencies_ms: Sequence[float],
    overhead: Overhead | None = None,
) -> Report:
    """Report about a fleet that is over."""
    spec = state.spec
    return Report(
        schema=SCHEMA,
        fleet=spec.fleet_id,
        namespace=spec.namespace,
        placement=spec.placement,
        result="succeeded" if succeeded else "failed",
        message=message,
        applications=_applications(state),
        mix={
            "ratio": {share.pool: share.weight for share in spec.mix.shares},
            "on_demand_base": spec.mix.on_demand_base,
        },
        target=spec.target,
        initial=state.initial or {},
        interruptions=[_loss(loss) for loss in state.losses if loss.cause in REPORTED_AS_INTERRUPTIONS],
        failures=[_loss(loss) for loss in state.losses if loss.cause is Cause.APPLICATION],
        losses_by_cause=state.losses_by_cause,
        replacements=[_replacement(replacement) for replacement in state.replacements],
        replacements_by_pool=state.replacements_by_pool,
        unobtainable=[_loss(loss) for loss in state.losses if loss.cause is Cause.SPOT_UNOBTAINABLE],
        fallbacks=[_plain(each) for each in state.fallbacks],
        fallbacks_by_cause=state.fallbacks_by_cause,
        returns=[_plain(each) for each in state.returns],
        returns_by_pool=state.returns_by_pool,
        outages=[{"since": _time(each.since), "until": _time(each.until), "why": each.why} for each in state.outages],
        breaker=[_plain(each) for each in state.breaker_changes],
        resubmissions=[_resubmission(each) for each in state.resubmissions.values() if not each.void],
        ledger=ledger_rows(spec, state.ledger),
        costs=costs(spec, state.ledger),
        gate_latency_ms=summary(gate_latencies_ms),
        overhead=overhead,
    )


def ledger_rows(spec: FleetSpec, ledger: Mapping[str, Account]) -> dict[str, dict[str, Any]]:
    """Accounts as a person reads them, by placed pool: closed ones, or those of `core.ledger.so_far`."""
    return {pool: _account(account, account.at_least(spec)) for pool, account in sorted(ledger.items())}


def _account(account: Account, least: Account) -> dict[str, Any]:
    return {
        "executors": account.executors,
        "executor_seconds": round(account.seconds, 3),
        "executor_seconds_at_least": round(least.seconds, 3),
        "core_seconds": round(account.core_seconds, 3),
        "gib_seconds": round(account.gib_seconds, 3),
        "core_hours": _hours(account.core_seconds),
        "core_hours_at_least": _hours(least.core_seconds),
        "gib_hours": _hours(account.gib_seconds),
        "gib_hours_at_least": _hours(least.gib_seconds),
        "estimated": account.estimated,
        "incomplete": account.incomplete,
    }


def _hours(seconds: float) -> float:
    return round(seconds / 3600, 6)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Count, median, 99th percentile and largest of a series; only the count when it is empty."""
    if not values:
        return {"count": 0}
    p99 = quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0]
    return {
        "count": len(values),
        "p50": round(median(values), 1),
        "p99": round(p99, 1),
        "max": round(max(values), 1),
    }


def _applications(state: FleetState) -> list[dict[str, Any]]:
    """All that there were: second attempts only where there was one."""
    begun = {each.replacement for each in state.resubmissions.values() if not each.void}
    found = []
    for spec in state.spec.applications:
        if spec.replaces and spec.name not in begun:
            continue
        app = state.applications[spec.name]
        found.append(
            {
                "name": app.name,
                "state": app.state,
                "message": app.message,
                "given_up": app.given_up,
                "group": spec.group,
                "pool": spec.pool,
                "attempt": 2 if spec.replaces else 1,
            }
        )
    return found


def _resubmission(resubmission: Resubmission) -> dict[str, Any]:
    return {
        "at": _time(resubmission.at),
        "group": resubmission.group,
        "application": resubmission.application,
        "replacement": resubmission.replacement,
        "from_pool": resubmission.from_pool,
        "pool": resubmission.pool,
        "cause": resubmission.cause,
        "reason": resubmission.reason,
    }


def _loss(loss: Loss) -> dict[str, Any]:
    return {
        "at": _time(loss.at),
        "executor": loss.executor,
        "application": loss.application,
        "seat": loss.seat,
        "seat_pool": loss.seat_pool,
        "pool": loss.pool,
        "node": loss.node,
        "cause": loss.cause.value,
        "evidence": list(loss.evidence),
        "estimated": loss.estimated,
        "event": loss.id,
    }


def _replacement(replacement: Replacement) -> dict[str, Any]:
    return {
        "at": _time(replacement.at),
        "executor": replacement.executor,
        "application": replacement.application,
        "seat": replacement.seat,
        "seat_pool": replacement.seat_pool,
        "pool": replacement.pool,
        "fallback": replacement.is_fallback,
        "replaces": replacement.replaces,
        "cause": replacement.cause.value,
        "event": replacement.loss,
    }


def _plain(happened: Struct) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(happened)
    return {**plain, "at": _time(plain["at"])}


def _time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).isoformat(timespec="milliseconds")
