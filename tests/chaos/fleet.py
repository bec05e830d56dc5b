"""The fleet of a schedule, as an operator would plan it from a person's application."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from airflow_provider_spotmix.core.mix import Mix, Share
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import KARPENTER, CapacityType, Pool, Toleration
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
CLAIM = "data"  # of the volume that executors need, in schedules with one
# Of real Spark: how long the work takes while all executors are there, in tasks of so many seconds.
WORK_SECONDS, TASK_SECONDS = 28.0, 0.5
# A driver hears nothing of who is cut off from it; it gives up sooner than after two minutes.
IMPATIENT = {
    "spark.network.timeout": "20s",
    "spark.network.timeoutInterval": "10s",
    "spark.executor.heartbeatInterval": "4s",
    "spark.shuffle.io.connectionTimeout": "10s",
    "spark.shuffle.io.maxRetries": "1",
}


def planned(setup: Setup, stage: str, canaries: list[str]) -> FleetPlan:
    """A fleet for played nodes. ``canaries``: secrets in the person's application."""
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
    executor: dict[str, Any] = {}
    if setup.volume:
        volume = {"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}}
        executor = {"template": {"spec": {"volumes": [volume]}}}
    return _plan(_application(setup, canaries, executor=executor), setup, stage, pools)


def planned_for_real(setup: Setup, stage: str, canaries: list[str]) -> FleetPlan:
    """A fleet of real Spark on the lab's own nodes: a job that shuffles, and checks its own result."""
    size = {"cores": 1, "memory": "512m"}
    tasks = int(setup.executors * WORK_SECONDS / TASK_SECONDS)
    arguments = ["--executors", setup.executors, "--partitions", tasks, "--task-seconds", TASK_SECONDS]
    application = _application(setup, canaries, executor=size)
    application["spec"] |= {
        "image": "apache/spark:4.0.4",
        "mainApplicationFile": "local:///opt/app/checked_shuffle.py",
        "arguments": [str(each) for each in arguments],
        "restartPolicy": {"type": "Never"},
        "driver": {**size, "serviceAccount": "spark"},
    }
    application["spec"]["sparkConf"] |= IMPATIENT
    return _plan(application, setup, stage, KARPENTER)


def _plan(application: dict[str, Any], setup: Setup, stage: str, pools: tuple[Pool, ...]) -> FleetPlan:
    return plan_fleet(
        application,
        identity=_identity(stage),
        mix=_mix(setup),
        pools=pools,
        namespace=stage,
        policy=replace(POLICY, active_return_seconds=setup.active_return_seconds),
        controller="agent" if setup.agent else "airflow",
    )


def _identity(stage: str) -> Identity:
    task = TaskRef(dag_id="chaos", task_id="play", run_id=stage)
    return Identity(instance="chaos", task_instance=stage, task=task)


def _mix(setup: Setup) -> Mix:
    shares = (
        Share(pool="spot", weight=setup.shares[0], on_demand=False),
        Share(pool="on-demand", weight=setup.shares[1], on_demand=True),
    )
    return Mix(shares=shares, on_demand_base=min(setup.base, setup.executors), base_pool="on-demand")


def _application(setup: Setup, canaries: list[str], *, executor: dict[str, Any]) -> dict[str, Any]:
    """A person's application, with secrets where people put them."""
    conf = {"spark.hadoop.fs.s3a.secret.key": canaries[0]}
    if setup.dynamic:
        conf["spark.dynamicAllocation.enabled"] = "true"
    secret = {"env": [{"name": "PASSWORD", "value": canaries[1]}]}
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
            "executor": {"instances": setup.executors, **secret, **executor},
        },
    }
