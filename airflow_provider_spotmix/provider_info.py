"""What the provider tells Airflow about itself. Checked against Airflow's own schema in tests."""

from __future__ import annotations

from typing import Any

_TEXT = ["string", "null"]
_FLAG = ["boolean", "null"]

PROVIDER_INFO: dict[str, Any] = {
    "package-name": "airflow-provider-spotmix",
    "name": "Spotmix",
    "description": "Spark on Kubernetes with an exact spot : on-demand mix that survives interruptions.",
    "integrations": [
        {
            "integration-name": "Spotmix",
            "external-doc-url": "https://spark.apache.org/docs/latest/running-on-kubernetes.html",
            "tags": ["software"],
        }
    ],
    "operators": [
        {"integration-name": "Spotmix", "python-modules": ["airflow_provider_spotmix.operators.spark_fleet"]}
    ],
    "sensors": [{"integration-name": "Spotmix", "python-modules": ["airflow_provider_spotmix.sensors.spark_fleet"]}],
    "hooks": [{"integration-name": "Spotmix", "python-modules": ["airflow_provider_spotmix.hooks.spotmix"]}],
    "triggers": [
        {
            "integration-name": "Spotmix",
            "python-modules": [
                "airflow_provider_spotmix.triggers.spark_fleet",
                "airflow_provider_spotmix.triggers.spark_fleet_sensor",
            ],
        }
    ],
    "extra-links": [
        "airflow_provider_spotmix.operators.links.FleetLink",
        "airflow_provider_spotmix.operators.links.SparkUiLink",
    ],
    "plugins": [{"name": "spotmix", "plugin-class": "airflow_provider_spotmix.plugins.spotmix.SpotmixPlugin"}],
    "connection-types": [
        {
            "connection-type": "spotmix",
            "hook-class-name": "airflow_provider_spotmix.hooks.spotmix.SpotmixHook",
            "hook-name": "Spotmix (Spark on spot and on-demand)",
            "ui-field-behaviour": {"hidden-fields": ["host", "schema", "login", "password", "port", "extra"]},
            "conn-fields": {
                "kubernetes_conn_id": {"label": "Kubernetes connection id", "schema": {"type": _TEXT}},
                "ratio": {"label": "Default ratio (spot:on-demand)", "schema": {"type": _TEXT}},
                "on_demand_base": {"label": "Default on-demand base", "schema": {"type": ["integer", "null"]}},
                "placement": {"label": "Default placement", "schema": {"type": _TEXT}},
                "controller": {"label": "Who looks after fleets (airflow or agent)", "schema": {"type": _TEXT}},
                "pools": {"label": "Pools (preset or JSON)", "schema": {"type": _TEXT}},
                "policy": {"label": "Policy (JSON)", "schema": {"type": _TEXT}},
                "prices": {"label": "Prices by pool (JSON)", "schema": {"type": _TEXT}},
                "currency": {"label": "Currency of prices", "schema": {"type": _TEXT}},
                "price_file": {"label": "Price file (path on the worker)", "schema": {"type": _TEXT}},
                "namespace": {"label": "Namespace", "schema": {"type": _TEXT}},
                "in_cluster": {"label": "In-cluster configuration", "schema": {"type": _FLAG}},
                "kube_config_path": {"label": "Kubeconfig path", "schema": {"type": _TEXT}},
                "kube_config": {"label": "Kubeconfig content", "schema": {"type": _TEXT, "format": "password"}},
                "cluster_context": {"label": "Kubeconfig context", "schema": {"type": _TEXT}},
                "disable_verify_ssl": {"label": "Do not verify TLS", "schema": {"type": _FLAG}},
            },
        }
    ],
    "config": {
        "spotmix": {
            "description": "Defaults of the spotmix provider, after operators' arguments and the connection's fields.",
            "options": {
                "instance": {
                    "description": (
                        "Name of this Airflow deployment, part of every fleet's identity. Set it when several"
                        " deployments share a namespace and have no [api] base_url of their own."
                    ),
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "airflow-production",
                    "default": None,
                },
                "progress_writes_per_second": {
                    "description": (
                        "How many XComs a triggerer process writes at most to show the progress of all its fleets. Its"
                        " supervisor writes them one after the other, ahead of everybody's events."
                    ),
                    "version_added": "0.1.0",
                    "type": "float",
                    "example": "2",
                    "default": None,
                },
                "spark_ui_url": {
                    "description": (
                        "Where a browser finds the Spark UI of a running driver. {namespace}, {application},"
                        " {driver_pod} and {spark_application} are filled in."
                    ),
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "https://spark.example.com/{namespace}/{application}/",
                    "default": None,
                },
                "history_server_url": {
                    "description": (
                        "Where a browser finds an application in the Spark history server. The same are filled in."
                    ),
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "https://history.example.com/history/{spark_application}/",
                    "default": None,
                },
                "ratio": {
                    "description": "Default ratio, spot:on-demand.",
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "40:60",
                    "default": None,
                },
                "on_demand_base": {
                    "description": "Default number of executors that are on-demand before the ratio applies.",
                    "version_added": "0.1.0",
                    "type": "integer",
                    "example": "1",
                    "default": None,
                },
                "placement": {
                    "description": "Default placement.",
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "template",
                    "default": None,
                },
                "controller": {
                    "description": "Who looks after fleets: airflow, or agent (a namespace agent).",
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "airflow",
                    "default": None,
                },
                "pools": {
                    "description": "Default pools: the name of a preset, or a list as JSON.",
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "karpenter",
                    "default": None,
                },
                "policy": {
                    "description": "How patient the controller is: JSON, by name of each policy setting.",
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": '{"node_lost_after_seconds": 30}',
                    "default": None,
                },
                "prices": {
                    "description": "What the pools cost: JSON, by name of each pool.",
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": '{"spot": {"core_hour": "0.012"}, "on-demand": {"core_hour": "0.04"}}',
                    "default": None,
                },
                "currency": {
                    "description": "Currency of the prices.",
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "EUR",
                    "default": None,
                },
                "price_file": {
                    "description": "Path of a file of prices, YAML or JSON, on every worker; instead of prices.",
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "/etc/spotmix/prices.yaml",
                    "default": None,
                },
                "price_source": {
                    "description": "A class of your own that knows what pools cost; instead of prices.",
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "company.prices.PriceList",
                    "default": None,
                },
            },
        }
    },
}
