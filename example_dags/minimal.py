"""The shortest DAG: five executors, two on spot and three on on-demand, and what spot loses comes back on on-demand."""

from airflow.sdk import DAG

from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator

with DAG(dag_id="spotmix_minimal", schedule=None, tags=["spotmix"]):
    SparkFleetOperator(
        task_id="checked_shuffle",
        application_file="applications/minimal.yaml",
        ratio="40:60",
    )
