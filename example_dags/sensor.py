"""A sensor waits beside a fleet until its executors run with the right mix; what needs them starts only then."""

from airflow.sdk import DAG, task

from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator
from airflow_provider_spotmix.sensors.spark_fleet import SparkFleetSensor

with DAG(dag_id="spotmix_sensor", schedule=None, tags=["spotmix"]):
    SparkFleetOperator(
        task_id="checked_shuffle",
        application_file="applications/minimal.yaml",
        name="watched-shuffle",
        ratio="40:60",
    )

    mixed = SparkFleetSensor(
        task_id="mixed",
        fleet_task_id="checked_shuffle",  # the latest try of that task, in this run
        mix="40:60",
        executors_running=1.0,  # all of them
        deferrable=True,
    )

    @task
    def tell(seen: dict) -> str:
        return ", ".join(f"{count} on {pool}" for pool, count in sorted(seen["running"].items()))

    tell(mixed.output)
