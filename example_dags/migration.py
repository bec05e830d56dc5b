"""Migration: a task of SparkKubernetesOperator with its file and arguments as they were, and a ratio."""

from airflow.sdk import DAG

from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator

with DAG(dag_id="spotmix_migration", schedule=None, tags=["spotmix"]):
    SparkFleetOperator(
        task_id="checked_shuffle",
        application_file="applications/migration.yaml",
        image="spark:4.0.4",
        code_path="local:///opt/app/checked_shuffle.py",
        get_logs=True,
        log_events_on_failure=True,
        startup_timeout_seconds=600,
        reattach_on_restart=True,
        delete_on_termination=True,
        random_name_suffix=True,
        ratio="40:60",  # the only line that is new
    )
