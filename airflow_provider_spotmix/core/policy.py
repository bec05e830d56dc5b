"""Policy: the numbers that decisions depend on. All times in seconds."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Fallback = Literal["on_demand", "spot_only", "wait", "fail"]


class Policy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How patient the controller is.

    Attributes:
        node_lost_after_seconds: a node whose Ready condition has been False or Unknown for this long is taken for lost
            and its executors are rescued. The condition itself turns Unknown only after the cluster's
            node-monitor-grace-period (50 s by default since Kubernetes 1.32).
        vacant_seat_seconds: with dynamic allocation, how long a vacated seat waits for its replacement before it
            expires; with a fixed number of executors a vacant seat never expires.
        startup_timeout_seconds: an application whose driver has not begun to run this long after its creation is given
            up; 0 for never. Counted from the creation that the API server notes, whoever looks after it since.
        group_lost_seconds: how long a group on spot may ask for executors while no node takes one and none runs, before
            it is submitted again on on-demand.
        fallback: what becomes of a spot seat when spot is not to be had: see docs/fallback.md.
        spot_pending_timeout_seconds: with ``on_demand``, how long an executor that is placed on spot may be
            unschedulable before its seat falls back; 0 for ever.
        spot_wait_seconds: the same with ``wait``; with ``fail``, how long before the application is failed.
        breaker_losses: so many spot nodes lost or seats unobtainable within the window open a pool's breaker; 0: never.
        breaker_window_seconds: the window.
        breaker_cooldown_seconds: how long an open breaker keeps executors off spot before one may try it again. Each
            try that fails doubles it, up to eight times.
        active_return_seconds: how often some of the executors that have fallen back are moved to spot again while they
            run; 0: never, they return when they end.

    """

    node_lost_after_seconds: float = 10.0
    vacant_seat_seconds: float = 120.0
    startup_timeout_seconds: float = 0.0
    group_lost_seconds: float = 300.0
    fallback: Fallback = "on_demand"
    spot_pending_timeout_seconds: float = 300.0
    spot_wait_seconds: float = 1800.0
    breaker_losses: int = 3
    breaker_window_seconds: float = 600.0
    breaker_cooldown_seconds: float = 600.0
    active_return_seconds: float = 0.0
