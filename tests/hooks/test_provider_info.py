"""What the provider tells Airflow of itself: by Airflow's own schema, found by Airflow's own discovery."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.resources import files
from types import ModuleType
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.providers.common.compat.sdk import conf
from airflow.providers_manager import ProvidersManager
from airflow.sdk import Connection

from airflow_provider_spotmix import get_provider_info
from airflow_provider_spotmix.hooks.choice import OPTIONS
from airflow_provider_spotmix.hooks.settings import KubernetesExtra, SpotmixExtra
from airflow_provider_spotmix.hooks.spotmix import SpotmixHook
from tests.support.versions import ProvidersManagerTaskRuntime

PACKAGE = "airflow-provider-spotmix"
INFO = get_provider_info()
FORM = INFO["connection-types"][0]


def test_it_keeps_airflows_schema() -> None:
    schema = json.loads((files("airflow") / "provider_info.schema.json").read_text("utf-8"))
    jsonschema.validate(INFO, schema)


def named(key: str) -> list[str]:
    return [module for entry in INFO[key] for module in entry["python-modules"]]


@pytest.mark.parametrize("module", named("operators") + named("hooks") + named("triggers"))
def test_every_module_it_names_is_there(module: str) -> None:
    assert importlib.import_module(module)


@pytest.mark.parametrize(
    "path",
    [FORM["hook-class-name"], *(plugin["plugin-class"] for plugin in INFO["plugins"])],
)
def test_every_class_it_names_is_there(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert isinstance(getattr(importlib.import_module(module), name), type)


def test_integrations_are_declared() -> None:
    declared = {integration["integration-name"] for integration in INFO["integrations"]}
    used = {entry["integration-name"] for key in ("operators", "hooks", "triggers") for entry in INFO[key]}
    assert used <= declared


def test_the_hook_and_the_form_agree() -> None:
    assert FORM["connection-type"] == SpotmixHook.conn_type
    assert FORM["hook-name"] == SpotmixHook.hook_name
    assert set(FORM["conn-fields"]) == set(SpotmixExtra.model_fields)


def test_everyone_gets_a_copy_of_their_own() -> None:
    get_provider_info()["connection-types"].clear()
    assert get_provider_info() == INFO


def test_every_setting_has_an_option() -> None:
    of_the_deployment = {"instance", "progress_writes_per_second", "spark_ui_url", "history_server_url"}
    assert {*OPTIONS, *of_the_deployment} == set(INFO["config"]["spotmix"]["options"])


def test_everything_but_where_the_cluster_is_is_a_setting() -> None:
    fields = set(FORM["conn-fields"]) - set(KubernetesExtra.model_fields) - {"kubernetes_conn_id"}
    assert fields == set(OPTIONS) - {"price_source"}, "code is named by administrators alone"


def test_options_are_known_to_airflows_configuration() -> None:
    assert conf.get("spotmix", "ratio", fallback="none") in (None, "None", "none", "")


def test_both_entry_points_are_installed() -> None:
    (provider,) = [
        e for e in entry_points(group="apache_airflow_provider") if e.value.startswith("airflow_provider_spot")
    ]
    assert provider.load()() == INFO
    (plugin,) = [e for e in entry_points(group="airflow.plugins") if e.name == "spotmix"]
    assert plugin.load().name == "spotmix"


@pytest.fixture(scope="module")
def manager() -> ProvidersManager:
    return ProvidersManager()  # type: ignore[no-untyped-call]  # Airflow's


def test_airflow_discovers_it(manager: ProvidersManager) -> None:
    assert manager.providers[PACKAGE].data["package-name"] == PACKAGE
    hook = ProvidersManagerTaskRuntime().hooks["spotmix"]
    assert hook is not None
    assert (hook.hook_class_name, hook.connection_id_attribute_name, hook.connection_testable) == (
        FORM["hook-class-name"],
        "spotmix_conn_id",
        True,
    )


def test_airflow_makes_our_hook_of_a_connection() -> None:
    hook = Connection(conn_id="team", conn_type="spotmix").get_hook()  # type: ignore[no-untyped-call]  # Airflow's
    assert isinstance(hook, SpotmixHook)
    assert hook.spotmix_conn_id == "team"


def shown_by_the_ui() -> dict[str, Any]:
    """The connection type as the UI gets it from an api-server, in which nothing else has loaded the hooks before."""
    code = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
(found,) = [meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "spotmix"]
print("META", json.dumps(found.model_dump()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("META ")]
    shown: dict[str, Any] = json.loads(line.removeprefix("META "))
    return shown


def test_the_ui_gets_the_form() -> None:
    found = shown_by_the_ui()
    assert set(found["extra_fields"]) == set(FORM["conn-fields"])
    assert found["extra_fields"]["kube_config"]["schema"]["format"] == "password"
    assert all(found["standard_fields"][field]["hidden"] for field in ("host", "login", "password", "port"))


def test_an_older_airflow_gets_the_same_form_from_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow 3.1 plays wtforms with these very classes, and asks the hook; later versions read the metadata."""
    played = ModuleType("wtforms")
    for name in ("BooleanField", "IntegerField", "PasswordField", "StringField"):
        setattr(played, name, getattr(HookMetaService, f"Mock{name}"))
    monkeypatch.setitem(sys.modules, "wtforms", played)
    widgets = {
        name: widget.param.dump()["schema"] for name, widget in SpotmixHook.get_connection_form_widgets().items()
    }
    assert widgets == {
        name: {**field["schema"], "title": field["label"]} for name, field in FORM["conn-fields"].items()
    }


def test_an_older_airflow_gets_the_fields_to_hide() -> None:
    assert SpotmixHook.get_ui_field_behaviour()["hidden_fields"] == FORM["ui-field-behaviour"]["hidden-fields"]
