"""What a deployment is called, and whether another one could be called the same."""

from __future__ import annotations

import pytest

from airflow_provider_spotmix.hooks.instance import instance_name, is_distinctive


@pytest.mark.parametrize(
    ("instance", "base_url", "name", "distinctive"),
    [
        pytest.param("", "", "airflow", False, id="nothing-is-set"),
        pytest.param("", "http://localhost:8080", "http://localhost:8080", False, id="localhost"),
        pytest.param("", "http://127.0.0.1:8080/", "http://127.0.0.1:8080", False, id="loopback"),
        pytest.param("", "http://[::1]:8080", "http://[::1]:8080", False, id="loopback-6"),
        pytest.param("", "https://airflow.example/prod/", "https://airflow.example/prod", True, id="its-own-address"),
        pytest.param("", "http://10.0.0.7:8080", "http://10.0.0.7:8080", True, id="its-own-number"),
        pytest.param("prod", "http://localhost:8080", "prod", True, id="a-name"),
    ],
)
def test_the_name_of_a_deployment(
    monkeypatch: pytest.MonkeyPatch, instance: str, base_url: str, name: str, distinctive: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__SPOTMIX__INSTANCE", instance)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    assert (instance_name(), is_distinctive()) == (name, distinctive)
