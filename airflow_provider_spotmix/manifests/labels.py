"""Names that we write into the cluster, and Spark's own that we read. In one place: they are a contract with users."""

from __future__ import annotations

# Ours
PREFIX = "spotmix.io/"
FLEET = "spotmix.io/fleet"
APPLICATION = "spotmix.io/application"
SEAT = "spotmix.io/seat"
SEAT_POOL = "spotmix.io/seat-pool"
PLACED_POOL = "spotmix.io/placed-pool"

GATE = "spotmix.io/placement"
# Of the driver of a group's second attempt, until nothing is left of the first.
RESUBMISSION_GATE = "spotmix.io/resubmission"

IDENTITY = "spotmix.io/identity"
TASK = "spotmix.io/task"
INPUT = "spotmix.io/input"
KEEP = "spotmix.io/keep"
REASON = "spotmix.io/placement-reason"
MANAGED_BY = "spotmix.io/managed-by"
MANAGER = "airflow-provider-spotmix"

# Spark's: https://spark.apache.org/docs/latest/running-on-kubernetes.html
SPARK_ROLE = "spark-role"
DRIVER_ROLE = "driver"
SPARK_EXECUTOR_ID = "spark-exec-id"
SPARK_SUBMISSION = "spark-app-selector"
EXECUTOR_CONTAINER = "spark-kubernetes-executor"
DRIVER_CONTAINER = "spark-kubernetes-driver"
