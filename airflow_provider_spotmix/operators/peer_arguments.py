"""What becomes of each argument of SparkKubernetesOperator: taken over, or refused with a remedy, never ignored.

Its own and those that it inherits from KubernetesPodOperator (cncf.kubernetes 10.25). docs/migration.md shows both
tables; tests hold them to that operator's signature and to ours. Those of BaseOperator are Airflow's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SAME = frozenset({
    "application_file",
    "cluster_context",
    "code_path",
    "config_file",
    "deferrable",
    "delete_on_termination",
    "do_xcom_push",
    "get_logs",
    "image",
    "in_cluster",
    "kubernetes_conn_id",
    "log_events_on_failure",
    "name",
    "namespace",
    "random_name_suffix",
    "reattach_on_restart",
    "startup_timeout_seconds",
    "template_spec",
})  # fmt: skip


def _both(field: str) -> str:
    return f"set {field} in spec.driver and spec.executor of the SparkApplication"


def _template(field: str) -> str:
    return f"set {field} in spec.driver.template.spec and spec.executor.template.spec of the SparkApplication"


_LEAVE_OUT = "leave it out"
_WATCHED = "leave it out: the cluster is watched, not asked every few seconds"
_WHOLE_LOG = "leave it out: the end of the driver's log is shown, see get_logs and driver_log_lines"
_DELETE = "set delete_on_termination instead"
_POD = "write the whole pod as spec.driver.template and spec.executor.template of the SparkApplication"
_CALLBACK = "use on_execute_callback, on_success_callback or on_failure_callback of the task"

# name: what to do instead
REFUSED: Mapping[str, str] = {
    "active_deadline_seconds": "set execution_timeout of the task",
    "affinity": _template("affinity"),
    "annotations": _both("annotations"),
    "arguments": "set spec.arguments of the SparkApplication",
    "automount_service_account_token": _template("automountServiceAccountToken"),
    "base_container_name": _LEAVE_OUT,
    "base_container_status_polling_interval": _WATCHED,
    "callbacks": _CALLBACK,
    "cmds": "set spec.mainApplicationFile of the SparkApplication, or code_path",
    "configmaps": _both("envFrom (with configMapRef)"),
    "container_logs": _WHOLE_LOG,
    "container_name_log_prefix_enabled": _LEAVE_OUT,
    "container_resources": _both("cores, coreLimit and memory"),
    "container_security_context": _both("securityContext"),
    "dns_config": _both("dnsConfig"),
    "dnspolicy": _template("dnsPolicy"),
    "durable": "set reattach_on_restart instead",
    "env_from": _both("envFrom"),
    "env_vars": _both("env"),
    "full_pod_spec": _POD,
    "host_aliases": _both("hostAliases"),
    "hostname": _template("hostname"),
    "hostnetwork": _both("hostNetwork"),
    "image_pull_policy": "set spec.imagePullPolicy of the SparkApplication",
    "image_pull_secrets": "set spec.imagePullSecrets of the SparkApplication",
    "init_container_logs": _WHOLE_LOG,
    "init_containers": _both("initContainers"),
    "is_delete_operator_pod": _DELETE,
    "labels": _both("labels"),
    "log_events_on_startup": "set log_events_on_failure instead; `kubectl describe` shows a running application's",
    "log_formatter": _WHOLE_LOG,
    "log_pod_spec_on_failure": "set delete_on_termination=False and look at the SparkApplication",
    "logging_interval": _WHOLE_LOG,
    "node_selector": "name the nodes in pools; for further restrictions, " + _template("nodeSelector"),
    "on_finish_action": _DELETE,
    "on_kill_action": "leave it out: a fleet whose task is killed is always deleted",
    "pod_runtime_info_envs": _both("env (with valueFrom.fieldRef)"),
    "pod_template_dict": _POD,
    "pod_template_file": _POD,
    "poll_interval": _WATCHED,
    "ports": _both("ports"),
    "priority_class_name": _both("priorityClassName"),
    "progress_callback": _CALLBACK,
    "runtime_class_name": _template("runtimeClassName"),
    "schedule_timeout_seconds": "set startup_timeout_seconds instead, which counts from the application's creation",
    "schedulername": _both("schedulerName"),
    "secrets": _both("secrets or envSecretKeyRefs"),
    "security_context": _both("podSecurityContext"),
    "service_account_name": "set spec.driver.serviceAccount and spec.executor.serviceAccount of the SparkApplication",
    "skip_on_exit_code": "raise AirflowSkipException in a task before this one, or handle the failure after it",
    "startup_check_interval_seconds": _WATCHED,
    "subdomain": _template("subdomain"),
    "success_run_history_limit": (
        "leave it out: SparkKubernetesOperator takes it and does nothing with it; to keep applications, set"
        " delete_on_termination=False, and spec.timeToLiveSeconds for how long"
    ),
    "termination_grace_period": _both("terminationGracePeriodSeconds"),
    "termination_message_policy": _LEAVE_OUT,
    "tolerations": "give the pools their tolerations; for further ones, " + _both("tolerations"),
    "trigger_kwargs": "leave it out: the trigger is of this provider",
    "volume_mounts": _both("volumeMounts"),
    "volumes": "set spec.volumes of the SparkApplication",
    "xcom_sidecar_container_security_context": "leave it out: there is no sidecar, the task returns the fleet report",
}


def without_peers(given: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse what SparkKubernetesOperator takes and this one cannot follow; return the rest. None asks for nothing.

    Raises:
        ValueError: there is such an argument; the message has the remedy.

    """
    for name, value in given.items():
        if name in REFUSED and value is not None:
            raise ValueError(
                f"{name} is {value!r:.100}, an argument of SparkKubernetesOperator that SparkFleetOperator does not"
                f" take; {REFUSED[name]}"
            )
    return {name: value for name, value in given.items() if name not in REFUSED}
