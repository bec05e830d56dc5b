"""Somebody's cluster in place of the lab: here the session's lab, known by nothing but a kubeconfig.

`make demo ARGS="--kubeconfig F"` plays the whole story there.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from airflow_provider_spotmix.cli import main
from airflow_provider_spotmix.core.pools import EKS, GKE, KARPENTER, Pool
from airflow_provider_spotmix.fleet.preflight import Level
from airflow_provider_spotmix.hooks.spotmix import SpotmixHook
from airflow_provider_spotmix.lab import borrowed_checks
from airflow_provider_spotmix.lab.api import Api, ApiError
from airflow_provider_spotmix.lab.borrowed import TAINT, Borrowed
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.progress import Silent
from tests.lab.applications import run_as_fleet
from tests.lab.conformance import until

pytestmark = pytest.mark.cluster


@pytest.fixture
def kubeconfig(lab: Lab, tmp_path: Path) -> Path:
    """An administrator's own file, which tells nothing of a lab."""
    return Path(shutil.copy(lab.kubeconfig, tmp_path / "their-kubeconfig"))


@pytest.fixture
def place(kubeconfig: Path, lab: Lab) -> Iterator[Borrowed]:
    place = Borrowed(kubeconfig, namespace=f"test-{secrets.token_hex(4)}")
    yield place
    lab.delete_namespace(place.namespace)


def missing(place: Borrowed) -> list[str]:
    return [finding.text for finding in borrowed_checks.look(place) if finding.level is Level.MISSING]


def test_what_is_missing_is_told_at_once_and_nothing_is_changed(place: Borrowed, kubeconfig: Path) -> None:
    assert missing(place) == []
    other = Borrowed(kubeconfig, namespace="default", service_account="nobody", preset="gke")
    assert [text.partition(":")[0] for text in missing(other)] == [
        "no node of pool 'spot' (cloud.google.com/gke-spot=true)",
        "there is no service account 'nobody' in namespace 'default'",
    ]
    assert place.api.find(f"/api/v1/namespaces/{place.namespace}") is None


def test_rights_that_are_missing_are_told(lab: Lab, namespace: str, place: Borrowed, tmp_path: Path) -> None:
    token = lab.api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token", {"spec": {}})
    content = json.loads(place.kubeconfig.read_text())
    content["users"][0]["user"] = {"token": token["status"]["token"]}
    weak = tmp_path / "weak"
    weak.write_text(json.dumps(content))
    told = missing(Borrowed(weak, namespace=place.namespace))
    assert "permission to list nodes: give a kubeconfig whose user has it" in told
    assert "permission to create pods/eviction: give a kubeconfig whose user has it" in told
    assert "permission to patch namespaces: give a kubeconfig whose user has it" in told


def test_a_kubeconfig_or_context_that_is_not_there_is_told(place: Borrowed, tmp_path: Path) -> None:
    for wrong in (Borrowed(tmp_path / "nothing"), Borrowed(place.kubeconfig, context="nobody's")):
        with pytest.raises(LabError, match="cannot be used"):
            borrowed_checks.look(wrong)


def test_nothing_is_done_before_a_person_said_yes(place: Borrowed, tmp_path: Path) -> None:
    options = ["demo", "--kubeconfig", str(place.kubeconfig), "--namespace", place.namespace]
    done = CliRunner().invoke(main, [*options, "--report", str(tmp_path / "report")], input="n\n")
    assert "taints one spot node for about a minute" in done.output
    assert done.exit_code == 1
    assert place.api.find(f"/api/v1/namespaces/{place.namespace}") is None


def test_options_for_a_cluster_need_one() -> None:
    done = CliRunner().invoke(main, ["demo", "--yes"])
    assert "--yes is for a cluster of yours: give its --kubeconfig, too" in done.output
    assert done.exit_code == 2


@pytest.mark.spark
def test_a_fleet_survives_the_interruption_of_a_node_that_stays(
    lab: Lab, place: Borrowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the demo does there, without Airflow: nothing of it is left, on the node neither."""
    for name, connection in place.connections().items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
    with place.moved_in():
        assert SpotmixHook().test_connection()[0]
        with pytest.raises(LabError, match="image 'nowhere/nothing' cannot be pulled"):
            borrowed_checks.try_out(replace(place, image="nowhere/nothing"), Silent())
        borrowed_checks.try_out(place, Silent())
        manifest = place.application()
        manifest["spec"]["arguments"] = ["--executors", "5", "--partitions", "90", "--task-seconds", "1"]
        report = asyncio.run(run_as_fleet(place.kubeconfig, manifest, place.namespace, _interrupted(place)))
        assert report.result == "succeeded"
        (loss,) = report.interruptions
        assert (loss["pool"], loss["cause"]) == ("spot", "spot-interruption")
        assert TAINT in lab.api.get(f"/api/v1/nodes/{loss['node']}")["spec"]["taints"]
    assert [new["pool"] for new in report.replacements] == ["on-demand"]
    assert TAINT not in lab.api.get(f"/api/v1/nodes/{loss['node']}")["spec"]["taints"]
    assert place.api.find(f"/api/v1/namespaces/{place.namespace}") is None


async def _interrupted(place: Borrowed) -> None:
    """Interrupt the node of an executor on spot, when all of them have worked: before, none could leave gracefully."""
    await asyncio.to_thread(_interrupt_one, place, place.api)


def _interrupt_one(place: Borrowed, api: Api) -> None:
    pods = f"/api/v1/namespaces/{place.namespace}/pods"
    (driver,) = until("a driver", lambda: api.items(pods, labelSelector="spark-role=driver,spotmix.io/fleet"))
    log = f"{pods}/{driver['metadata']['name']}/log"
    until("work to be done", lambda: "Finished task 15." in _text(api, log), seconds=120)
    executors = api.items(pods, labelSelector="spark-role=executor")
    place.interrupt(next(str(pod["spec"]["nodeName"]) for pod in executors if "spot" in pod["spec"]["nodeName"]))


def _text(api: Api, log: str) -> str:
    try:
        return api.text(log)
    except ApiError as error:
        return str(error)  # it has not started


@pytest.mark.parametrize(
    ("labels", "pool", "belongs"),
    [
        pytest.param({"karpenter.sh/capacity-type": "spot"}, KARPENTER[0], True, id="selected"),
        pytest.param({"karpenter.sh/capacity-type": "spot"}, KARPENTER[1], False, id="of-the-other"),
        pytest.param({}, EKS[1], False, id="unlabelled"),
        pytest.param({}, GKE[1], True, id="by-the-absence-of-a-label"),
        pytest.param({"cloud.google.com/gke-spot": "true"}, GKE[1], False, id="not-absent"),
    ],
)
def test_nodes_are_told_apart(labels: dict[str, str], pool: Pool, belongs: bool) -> None:
    assert borrowed_checks.is_of({"metadata": {"labels": labels}}, pool) is belongs
