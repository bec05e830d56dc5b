"""The table of metrics and the dashboard use the names that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from airflow_provider_spotmix.fleet.metrics import METRICS, Kind

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_has_every_metric() -> None:
    rows = re.findall(r"^\| `(spotmix\.\w+)` \| (\w+) \| (.*?) ?\| (\w+) \|", (DOCS / "metrics.md").read_text(), re.M)
    found = {name: (kind, tuple(re.findall(r"`(\w+)`", tags)), unit) for name, kind, tags, unit in rows}
    assert found == {name: (each.kind.value, each.tags, each.unit) for name, each in METRICS.items()}


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    dashboard = json.loads((DOCS / "dashboards" / "spotmix.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = {name for each in expressions for name in re.findall(r"airflow_(spotmix_\w+)", each)}
    assert used == {_in_prometheus(name) for name in METRICS}


def test_the_dashboard_groups_by_tags_that_its_metrics_have() -> None:
    dashboard = json.loads((DOCS / "dashboards" / "spotmix.json").read_text())
    tags = {_in_prometheus(name): {*each.tags, "dag_id", "task_id"} for name, each in METRICS.items()}
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            for by, name in re.findall(r"by \((\w+)\) \((?:increase\()?airflow_(spotmix_\w+)", target["expr"]):
                assert by in tags[name] or (by, name) == ("quantile", "spotmix_gate_latency"), target["expr"]
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert f"by ({label})" in target["expr"], target


def test_the_mapping_names_every_counter() -> None:
    counters = re.search(r"match: '\(\.\*spotmix\)\\\.\((.*?)\)'", (DOCS / "metrics.md").read_text())
    assert counters is not None
    names = {name.removeprefix("spotmix.") for name, each in METRICS.items() if each.kind is Kind.COUNTER}
    assert set(counters[1].split("|")) == names


def _in_prometheus(name: str) -> str:
    return name.replace(".", "_") + ("_total" if METRICS[name].kind is Kind.COUNTER else "")
