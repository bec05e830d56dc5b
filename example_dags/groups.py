"""Groups: a job that shards runs as three applications, one of them on spot; a lost one runs again on on-demand.

Each group writes its own shard of the output. Losing it in the middle leaves nothing twice and nothing out.
"""

from airflow.sdk import DAG

from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator

with DAG(dag_id="spotmix_groups", schedule=None, tags=["spotmix"]):
    SparkFleetOperator(
        task_id="sharded_numbers",
        application_file="applications/sharded_numbers.yaml",
        placement="groups",
        ratio="1:2",  # in whole groups: one on spot, two on on-demand
        groups=3,
    )
