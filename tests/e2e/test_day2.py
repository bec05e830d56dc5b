"""The second day: what happens to fleets when people operate, upgrade and repair Airflow."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from airflow_provider_spotmix.lab.airflow import AirflowHarness
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.manifests import labels
from tests.e2e.life import SECONDS, Fleet, kind, life
from tests.support import previous

pytestmark = [pytest.mark.airflow, pytest.mark.cluster, pytest.mark.timeout(600)]

# Puts another trigger in the place of the only one whose arguments have a text: what an earlier version had stored.
REPLACE_TRIGGER = """
import json, sys
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
text, class_path, arguments = json.load(sys.stdin)
with create_session() as session:
    (found,) = [each for each in session.query(Trigger) if text in json.dumps(each.kwargs)]
    found.classpath, found.kwargs = class_path, arguments
"""


@pytest.mark.usefixtures("triggerer")
def test_triggerer_dies_a_person_reruns_and_an_administrator_upgrades(lab: Lab, airflow: AirflowHarness) -> None:
    with life(lab, airflow, "life_triggerer") as one:
        one.begins()
        first = one.is_under_way()
        one.task_is("deferred")

        airflow.kill("triggerer")
        one.mark("failed")
        one.task_is("failed")
        assert first.exists()
        airflow.start("triggerer")
        assert airflow.api.wait_for_run(one.dag_id, one.run_id, timeout=SECONDS) == "failed"

        airflow.api.clear(one.dag_id, one.run_id)
        second = one.is_under_way(first)
        first.gone()
        one.task_is("deferred")

        airflow.kill("triggerer", signal.SIGTERM)
        becomes_the_previous_version_s(second, airflow)
        airflow.start("triggerer")
        second.is_looked_after()  # its driver asks for the executor that was lost
        assert first.exists() is False
        second.completes()
        report = one.succeeded(second)
        losses = [(loss["executor"], loss["cause"]) for loss in report["interruptions"]]
        assert losses == [(f"{second.name}-exec-2", "spot-interruption")]
        replacements = [(each["executor"], each["replaces"], each["pool"]) for each in report["replacements"]]
        assert replacements == [(f"{second.name}-exec-4", f"{second.name}-exec-2", "on-demand")]
        assert {pool: account["executors"] for pool, account in report["ledger"].items()} == {
            "on-demand": 3,
            "spot": 1,
        }
        assert airflow.api.wait_for_run(one.dag_id, one.run_id, timeout=SECONDS) == "success"
        assert one.gc() == []  # only the Lease of the killed triggerer is left behind


def becomes_the_previous_version_s(fleet: Fleet, airflow: AirflowHarness) -> None:
    """Leave what the previous version would have: its checkpoint, its trigger's arguments, its annotations."""
    one = fleet.life
    drawn = {
        "fleet": fleet.labels[labels.FLEET],
        "application": fleet.name,
        "namespace": one.namespace,
        "submission": fleet.spark.submission,
    }
    checkpoint = json.dumps(previous.recorded("checkpoint", **drawn))
    config_map = f"{kind(one.namespace, 'configmaps')}/spotmix-{drawn['fleet']}"
    one.lab.api.patch(config_map, {"data": {"checkpoint": checkpoint}})
    (lost,) = [pod for pod in one.do(fleet.spark.pods()) if pod.metadata.labels[labels.PLACED_POOL] == "spot"]
    assert lost.metadata.name == f"{fleet.name}-exec-2"  # as in the record
    one.do(fleet.spark.remove(lost.metadata.name))
    application = f"{kind(one.namespace, 'sparkapplications')}/{fleet.name}"
    one.lab.api.patch(application, {"metadata": {"annotations": {labels.TASK: None}}})
    subprocess.run(
        [sys.executable, "-c", REPLACE_TRIGGER],
        env=airflow.environment(),
        input=json.dumps([one.namespace, *previous.recorded("trigger", **drawn)]),
        text=True,
        check=True,
        timeout=120,
    )
