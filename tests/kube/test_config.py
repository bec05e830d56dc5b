import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_spotmix.kube import config
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import ConfigError


def kubeconfig(server: str = "https://one.example:6443", user: dict[str, Any] | None = None, **cluster: Any) -> str:
    return json.dumps(
        {
            "current-context": "main",
            "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
            "users": [{"name": "u", "user": {"token": "s3cret"} if user is None else user}],
            "contexts": [
                {"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "spark"}},
                {"name": "bare", "context": {"cluster": "c"}},
                {"name": "broken", "context": {"cluster": "nope"}},
            ],
        }
    )


def identity(**changes: Any) -> str:
    return ClusterConfig(kube_config=kubeconfig(**changes)).identity()


def test_the_same_server_and_credentials_have_one_identity_however_they_are_given(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(kubeconfig())
    assert ClusterConfig(config_file=str(path)).identity() == identity()
    assert ClusterConfig(config_file=str(path), context="main", namespace="other").identity() == identity()
    assert identity(server="https://ONE.example:6443/") == identity()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"server": "https://two.example:6443"}, id="server"),
        pytest.param({"user": {"token": "other"}}, id="token"),
        pytest.param({"user": {"exec": {"command": "aws", "args": ["--role", "b"]}}}, id="exec"),
        pytest.param({"insecure-skip-tls-verify": True}, id="tls"),
        pytest.param({"certificate-authority-data": "AAAA"}, id="ca"),
        pytest.param({"user": {"token": "s3cret", "as": "system:admin"}}, id="impersonation"),
    ],
)
def test_anything_that_changes_access_changes_the_identity(changes: dict[str, Any]) -> None:
    assert identity(**changes) != identity()


def test_the_current_token_of_an_auth_provider_is_not_part_of_the_identity() -> None:
    def user(token: str) -> dict[str, Any]:
        return {"auth-provider": {"name": "oidc", "config": {"client-id": "x", "id-token": token}}}

    assert identity(user=user("a")) == identity(user=user("b"))


def test_no_secret_in_identity_or_repr() -> None:
    cluster = ClusterConfig(kube_config=kubeconfig(server="https://me:s3cret@one.example:6443"))
    assert cluster.identity().startswith("https://one.example:6443#")
    assert "s3cret" not in cluster.identity() + repr(cluster)
    assert "s3cret" not in repr(ClusterConfig(kube_config=kubeconfig()).select())


def test_the_namespace_is_ours_else_the_contexts_else_default() -> None:
    assert ClusterConfig(kube_config=kubeconfig(), namespace="mine").resolve_namespace() == "mine"
    assert ClusterConfig(kube_config=kubeconfig()).resolve_namespace() == "spark"
    assert ClusterConfig(kube_config=kubeconfig(), context="bare").resolve_namespace() == "default"


def test_the_first_of_several_files_wins_and_paths_are_relative_to_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a" / "config", tmp_path / "b" / "config"
    for path, server in ((first, "https://a.example"), (second, "https://b.example")):
        path.parent.mkdir()
        path.write_text(kubeconfig(server=server, user={"tokenFile": "token"}))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{first}:{second}")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    chosen = ClusterConfig().select()
    assert chosen.server == "https://a.example"
    assert chosen.user == {"tokenFile": str(tmp_path / "a" / "token")}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        pytest.param({"config_file": "/nowhere/config"}, "no kubeconfig at '/nowhere/config'", id="no-file"),
        pytest.param({"kube_config": "a: [s3cret"}, "is not valid YAML or JSON", id="not-yaml"),
        pytest.param({"kube_config": "just text"}, "expected a mapping, found str", id="not-a-mapping"),
        pytest.param({"kube_config": kubeconfig(), "context": "x"}, "contexts of .*: bare, broken, main", id="context"),
        pytest.param({"kube_config": kubeconfig(), "context": "broken"}, "names cluster 'nope'", id="cluster"),
        pytest.param({"kube_config": "clusters: []"}, "has no current-context", id="no-current-context"),
        pytest.param({"kube_config": "a: 2026-02-31"}, "is not valid YAML", id="no-such-day"),
        pytest.param({"kube_config": "[" * 5000}, "is not valid YAML", id="too-deep"),
        pytest.param({"kube_config": "clusters: s3cret"}, "'clusters' is no list; fix", id="clusters-are-text"),
        pytest.param({"kube_config": "users: [s3cret]"}, "an entry of 'users' has no name; fix", id="user-is-text"),
        pytest.param({"kube_config": "users: [{name: [s3cret]}]"}, "of 'users' has no name; fix", id="name-is-a-list"),
        pytest.param(
            {"kube_config": "users: [{name: u, user: s3cret}]"}, "user 'u' is no mapping; fix", id="no-mapping"
        ),
        pytest.param({"kube_config": kubeconfig(user={"tokenFile": 5})}, "'tokenFile' is no text; put", id="no-path"),
        pytest.param(
            {"kube_config": "current-context: [a]"}, "'current-context' is no text; put", id="context-is-a-list"
        ),
        pytest.param({"kube_config": kubeconfig(server="https://me:s3cret@[::1")}, "is no URL; correct", id="no-url"),
    ],
)
def test_mistakes_are_told_with_their_place(given: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        ClusterConfig(**given).identity()  # type: ignore[arg-type]
    assert "s3cret" not in str(caught.value)


def test_two_sources_are_refused() -> None:
    with pytest.raises(ConfigError, match="in_cluster and kube_config_path are both set"):
        ClusterConfig(in_cluster=True, config_file="x")


def test_in_cluster_outside_a_pod_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match="are we in a pod"):
        ClusterConfig(in_cluster=True).identity()


def test_in_a_pod_the_service_account_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("token", "t"), ("namespace", "team-a\n")):
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(config, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    chosen = ClusterConfig().select()
    assert (chosen.server, chosen.user) == ("https://[fd00::1]:443", {"tokenFile": str(tmp_path / "token")})
    assert ClusterConfig().resolve_namespace() == "team-a"
    assert ClusterConfig(kube_config=kubeconfig()).select().server == "https://one.example:6443"
