"""The fleet of a schedule, as an operator would plan it from a person's application."""

from __future__ import annotations

from typing import Any

from airflow_provider_spotmix.core.mix import Mix, Share
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import CapacityType, Pool, Toleration
from airflow_provider_spotmix.fleet.plan import FleetPlan, plan_fleet
from airflow_provider_spotmix.manifests.identity import Identity, TaskRef
from tests.chaos.machines import STAGE_LABEL
from tests.chaos.schedule import Setup

POLICY = Policy(
    node_lost_after_seconds=1.0,
    vacant_seat_seconds=5.0,
    spot_pending_timeout_seconds=4.0,
    breaker_losses=3,
    breaker_window_seconds=6.0,
    breaker_cooldown_seconds=4.0,
)


def planned(setup: Setup, stage: str, canaries: list[str]) -> FleetPlan:
    """The fleet as an operator plans it. ``canaries``: secrets in the person's application."""
    selector = {STAGE_LABEL: stage}
    spot = Toleration(key="karpenter.sh/capacity-type", value="spot", effect="NoSchedule")
    pools = (
        Pool(
            name="spot",
            capacity_type=CapacityType.SPOT,
            node_selector={**selector, "karpenter.sh/capacity-type": "spot"},
            tolerations=(spot,),
        ),
        Pool(
            name="on-demand",
            capacity_type=CapacityType.ON_DEMAND,
            node_selector={**selector, "karpenter.sh/capacity-type": "on-demand"},
        ),
    )
    return plan_fleet(
        _application(setup.executors, dynamic=setup.dynamic, canaries=canaries),
        identity=identity(stage),
        mix=mix(setup),
        pools=pools,
        namespace=stage,
        policy=POLICY,
    )


def identity(stage: str) -> Identity:
    """Of the task that the fleet belongs to."""
    task = TaskRef(dag_id="chaos", task_id="play", run_id=stage)
    return Identity(instance="chaos", task_instance=stage, task=task)


def mix(setup: Setup) -> Mix:
    """How the setup's executors are split."""
    shares = (
        Share(pool="spot", weight=setup.shares[0], on_demand=False),
        Share(pool="on-demand", weight=setup.shares[1], on_demand=True),
    )
    return Mix(shares=shares, on_demand_base=min(setup.base, setup.executors), base_pool="on-demand")


def _application(executors: int, *, dynamic: bool, canaries: list[str]) -> dict[str, Any]:
    """A person's application, with secrets where people put them."""
    conf = {"spark.hadoop.fs.s3a.secret.key": canaries[0]}
    if dynamic:
        conf["spark.dynamicAllocation.enabled"] = "true"
    return {
        "apiVersion": "sparkoperator.k8s.io/v1beta2",
        "kind": "SparkApplication",
        "metadata": {"name": "play"},
        "spec": {
            "type": "Python",
            "mode": "cluster",
            "sparkVersion": "4.0.4",
            "mainApplicationFile": "local:///opt/app/none.py",
            "sparkConf": conf,
            "driver": {},
            "executor": {"instances": executors, "env": [{"name": "PASSWORD", "value": canaries[1]}]},
        },
    }
