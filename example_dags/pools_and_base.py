"""Three pools of one's own and a base: one executor is on-demand first, of the others half are spot, in two zones.

A zone that runs out of spot takes only its own share with it.
"""

from airflow.sdk import DAG

from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator

ZONES = ("lab-a", "lab-b")  # those of the rehearsal lab; yours are called us-east-1a, europe-west4-b, 1, ...

CAPACITY_TYPE = "karpenter.sh/capacity-type"
ZONE = "topology.kubernetes.io/zone"
TOLERATION = {"key": CAPACITY_TYPE, "value": "spot", "effect": "NoSchedule"}

with DAG(dag_id="spotmix_pools_and_base", schedule=None, tags=["spotmix"]):
    SparkFleetOperator(
        task_id="checked_shuffle",
        application_file="applications/minimal.yaml",
        name="pools-and-base",
        pools=[
            {
                "name": f"spot-{zone}",
                "capacity_type": "spot",
                "node_selector": {CAPACITY_TYPE: "spot", ZONE: zone},
                "tolerations": [TOLERATION],
            }
            for zone in ZONES
        ]
        + [{"name": "on-demand", "capacity_type": "on-demand", "node_selector": {CAPACITY_TYPE: "on-demand"}}],
        ratio={f"spot-{ZONES[0]}": 1, f"spot-{ZONES[1]}": 1, "on-demand": 2},
        on_demand_base=1,
    )
