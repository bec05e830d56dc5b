"""Policy: the numbers that decisions depend on. All times in seconds."""

from __future__ import annotations

from msgspec import Struct


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

    """

    node_lost_after_seconds: float = 10.0
    vacant_seat_seconds: float = 120.0
    startup_timeout_seconds: float = 0.0
    group_lost_seconds: float = 300.0
