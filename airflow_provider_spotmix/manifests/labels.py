"""Names that we write into the cluster, and Spark's own that we read. In one place: they are a contract with users."""

from __future__ import annotations

import hashlib
import re

# Ours
PREFIX = "spotmix.io/"
FLEET = "spotmix.io/fleet"
APPLICATION = "spotmix.io/application"
SEAT = "spotmix.io/seat"
SEAT_POOL = "spotmix.io/seat-pool"
PLACED_POOL = "spotmix.io/placed-pool"
# Why an executor is not on its seat's pool; and when it was placed, seconds since the epoch (annotation).
FALLBACK = "spotmix.io/fallback"
PLACED_AT = "spotmix.io/placed-at"

GATE = "spotmix.io/placement"
# Of the driver of a group's second attempt, until nothing is left of the first.
RESUBMISSION_GATE = "spotmix.io/resubmission"

IDENTITY = "spotmix.io/identity"
TASK = "spotmix.io/task"
INPUT = "spotmix.io/input"
# The names that each group's attempts have, and how many groups have to succeed.
GROUPS = "spotmix.io/groups"
KEEP = "spotmix.io/keep"
# How a namespace agent is asked to look after a fleet (annotation, its plan), what it says of it (label of a ConfigMap,
# the fleet's id), and that a Lease is an agent's.
PLAN = "spotmix.io/plan"
RECORD = "spotmix.io/record"
AGENT = "spotmix.io/agent"
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

_MAX_VALUE = 63


def label_value(text: str) -> str:
    """Make any text a label value, in the way of the Kubernetes provider, so that both select the same pods.

    Its own function would load the Kubernetes client into every task; a test holds this one to it.
    """
    safe = re.sub(r"^[^a-z0-9A-Z]*|[^a-zA-Z0-9_\-.]|[^a-z0-9A-Z]*$", "", text)
    if safe != text or len(safe) > _MAX_VALUE:
        digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:9]
        safe = f"{safe[: _MAX_VALUE - len(digest) - 1]}-{digest}"
    return safe.lstrip("-_.")  # where nothing valid is left of the text, theirs would begin with the hyphen
