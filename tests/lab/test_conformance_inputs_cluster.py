"""What a container is given, environment and volumes: each row names the page of Kubernetes that it holds the nodes to.

All pods of a table run at the same time; each test waits for its own.
"""

from __future__ import annotations

import base64
import json

import pytest

from airflow_provider_spotmix.lab.api import Json
from tests.lab.conformance import DOCS, MARK, MARKED, SUCCEEDED, Case, Stage, container, pod, until

pytestmark = pytest.mark.cluster

DOWNWARD = "concepts/workloads/pods/downward-api/"
CONFIG_MAP = "concepts/configuration/configmap/"
SECRET = "concepts/configuration/secret/"
VOLUMES = "concepts/storage/volumes/"
PROJECTED = "concepts/storage/projected-volumes/"
SECURITY = "tasks/configure-pod-container/security-context/"
DEPENDENT = "tasks/inject-data-application/define-interdependent-environment-variables/"

LIMITED = {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "32Mi"}}


def mounted(*volumes: Json, **spec: object) -> Json:
    """Keywords of a pod whose `main` has each volume at /mnt/NAME."""
    mounts = [{"name": volume["name"], "mountPath": f"/mnt/{volume['name']}"} for volume in volumes]
    return {"volumeMounts": mounts, "spec": {"volumes": list(volumes), **spec}}


def env(**sources: Json | str) -> list[Json]:
    return [
        {"name": name, "value": source} if isinstance(source, str) else {"name": name, "valueFrom": source}
        for name, source in sources.items()
    ]


def field(path: str) -> Json:
    return {"fieldRef": {"fieldPath": path}}


def amount(resource: str, divisor: str) -> Json:
    return {"resourceFieldRef": {"resource": resource, "divisor": divisor}}


def downward_log(body: Json) -> str:
    meta, status = body["metadata"], body["status"]
    expected = (meta["name"], meta["namespace"], meta["uid"], "env-fields", "of env-fields", body["spec"]["nodeName"])
    return " ".join((*expected, "default", status["podIP"], status["hostIP"])) + "\n"


CASES = [
    # environment
    Case(
        "env-fields",
        DOWNWARD,
        pod(
            "echo $NAME $NS $ID $LABEL $NOTE $NODE $ACCOUNT $IP $HOST",
            env=env(
                NAME=field("metadata.name"),
                NS=field("metadata.namespace"),
                ID=field("metadata.uid"),
                LABEL=field("metadata.labels['row']"),
                NOTE=field("metadata.annotations['note']"),
                NODE=field("spec.nodeName"),
                ACCOUNT=field("spec.serviceAccountName"),
                IP=field("status.podIP"),
                HOST=field("status.hostIP"),
            ),
        ),
        SUCCEEDED,
        downward_log,
    ),
    Case(
        "env-resources",
        DOWNWARD,
        pod(
            "echo $CPU $CORES $MEMORY $ASKED",
            resources=LIMITED,
            env=env(
                CPU=amount("limits.cpu", "1m"),
                CORES=amount("limits.cpu", "1"),  # rounded up
                MEMORY=amount("limits.memory", "1Mi"),
                ASKED=amount("requests.memory", "1"),
            ),
        ),
        SUCCEEDED,
        "1500 2 64 33554432\n",
    ),
    Case(
        "env-config",
        CONFIG_MAP,
        pod(
            "echo $A $B ${NONE-unset} $P_a $P_b",
            envFrom=[{"prefix": "P_", "configMapRef": {"name": "settings"}}],
            env=env(
                A={"configMapKeyRef": {"name": "settings", "key": "a"}},
                B={"secretKeyRef": {"name": "secrets", "key": "s"}},
                NONE={"configMapKeyRef": {"name": "settings", "key": "none", "optional": True}},
            ),
        ),
        SUCCEEDED,
        "one hidden unset one two\n",
    ),
    Case(
        "env-dependent",
        DEPENDENT,
        pod("echo $B $C", env=env(A="1", B="$(A)2", C="$$(A) $(LATER)", LATER="3")),
        SUCCEEDED,
        "12 $(A) $(LATER)\n",
    ),
    Case(
        "env-missing-key-waits",
        CONFIG_MAP,
        pod("", env=env(A={"configMapKeyRef": {"name": "settings", "key": "none"}})),
        {"phase": "Pending", "main": "Waiting CreateContainerConfigError"},
    ),
    # security context
    Case(
        "user-and-group",
        SECURITY,
        pod(
            "id -u; id -g; whoami; touch /mnt/v/f; stat -c '%u %g' /mnt/v/f",
            securityContext={"runAsUser": 98765},
            **mounted({"name": "v", "emptyDir": {}}, securityContext={"runAsUser": 4, "runAsGroup": 3000}),
        ),
        SUCCEEDED,
        "98765\n3000\nuser98765\n98765 3000\n",
    ),
    Case(
        "read-only-root",
        SECURITY,
        pod(
            "for f in /f /tmp/f /mnt/v/f; do touch $f 2>/dev/null && echo $f; done; grep NoNewPrivs /proc/self/status",
            securityContext={"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False},
            **mounted({"name": "v", "emptyDir": {}}),
        ),
        SUCCEEDED,
        "/mnt/v/f\nNoNewPrivs:\t1\n",
    ),
    Case(
        "root-is-refused-where-it-must-not-be",
        SECURITY,
        pod("", spec={"securityContext": {"runAsNonRoot": True}}),
        {"phase": "Pending", "main": "Waiting CreateContainerConfigError"},
    ),
    # volumes
    Case(
        "config-map-items-and-modes",
        VOLUMES + "#configmap",
        pod(
            "cd /mnt/v; cat x/y; stat -Lc '%n %a' x/y b; cat /mnt/all/a; ls -A /mnt/none | grep -v '^[.]'; :",
            **mounted(
                {
                    "name": "v",
                    "configMap": {
                        "name": "settings",
                        "defaultMode": 0o400,
                        "items": [{"key": "a", "path": "x/y"}, {"key": "b", "path": "b", "mode": 0o640}],
                    },
                },
                {"name": "all", "configMap": {"name": "settings"}},
                {"name": "none", "configMap": {"name": "absent", "optional": True}},
            ),
        ),
        SUCCEEDED,
        "onex/y 400\nb 640\none",
    ),
    Case(
        "secret-volume",
        SECRET,
        pod(
            "cat /mnt/v/s; stat -Lc ' %a' /mnt/v/s",
            **mounted({"name": "v", "secret": {"secretName": "secrets", "defaultMode": 0o440}}),
        ),
        SUCCEEDED,
        "hidden 440\n",
    ),
    Case(
        "empty-dir-is-shared-and-outlives-containers",
        VOLUMES + "#emptydir",
        pod(
            "cat /mark/first",
            init=[container("first", "echo it >/mark/first", volumeMounts=MARKED)],
            volumeMounts=MARKED,
            spec={"volumes": [MARK]},
        ),
        {"phase": "Succeeded", "first": "Completed 0", "main": "Completed 0"},
        "it\n",
    ),
    Case(
        "host-path",
        VOLUMES + "#hostpath",
        pod("test -d /mnt/v && ls /mnt/v | grep -x passwd", **mounted({"name": "v", "hostPath": {"path": "/etc"}})),
        SUCCEEDED,
        "passwd\n",
    ),
    Case(
        "projected-in-one-directory",
        PROJECTED,
        pod(
            "cd /mnt/all; cat conf; cat pod/name; echo; cat s; echo; cat memory; echo",
            resources=LIMITED,
            **mounted(
                {
                    "name": "all",
                    "projected": {
                        "sources": [
                            {"configMap": {"name": "settings", "items": [{"key": "a", "path": "conf"}]}},
                            {"secret": {"name": "secrets"}},
                            {
                                "downwardAPI": {
                                    "items": [
                                        {"path": "pod/name", **field("metadata.name")},
                                        {
                                            "path": "memory",
                                            "resourceFieldRef": {
                                                "containerName": "main",
                                                "resource": "limits.memory",
                                                "divisor": "1Mi",
                                            },
                                        },
                                    ]
                                }
                            },
                        ]
                    },
                }
            ),
        ),
        SUCCEEDED,
        "oneprojected-in-one-directory\nhidden\n64\n",
    ),
    Case(
        "default-account-is-mounted",
        "tasks/configure-pod-container/configure-service-account/",
        pod(
            "ls /var/run/secrets/kubernetes.io/serviceaccount; cat /var/run/secrets/kubernetes.io/serviceaccount/name*"
        ),
        SUCCEEDED,
        lambda body: f"ca.crt\nnamespace\ntoken\n{body['metadata']['namespace']}",
    ),
]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_pod_comes_to_what_kubernetes_documents(stage: Stage, case: Case) -> None:
    body = stage.reaches(case.name, case.reaches)
    if case.log is not None:
        expected = case.log if isinstance(case.log, str) else case.log(body)
        assert stage.log(case.name) == expected, DOCS + case.doc


def test_a_projected_token_is_bound_to_its_pod_and_audience(stage: Stage) -> None:
    """concepts/storage/projected-volumes/#serviceaccounttoken."""
    source = {"serviceAccountToken": {"path": "token", "audience": "someone", "expirationSeconds": 3600}}
    stage.start("token", pod("cat /mnt/all/token", **mounted({"name": "all", "projected": {"sources": [source]}})))
    meta = stage.reaches("token", SUCCEEDED)["metadata"]
    claims = json.loads(base64.urlsafe_b64decode(stage.log("token").split(".")[1] + "=="))
    assert claims["kubernetes.io"]["pod"] == {"name": "token", "uid": meta["uid"]}
    assert claims["aud"] == ["someone"]


def test_what_is_mounted_follows_its_source(stage: Stage) -> None:
    """concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically, and more."""
    spaces = f"/api/v1/namespaces/{stage.namespace}"
    stage.lab.api.create(f"{spaces}/configmaps", {"metadata": {"name": "moving"}, "data": {"a": "old", "gone": "soon"}})
    stage.lab.api.create(f"{spaces}/secrets", {"metadata": {"name": "moving"}, "stringData": {"s": "old"}})
    label = {"path": "label", "fieldRef": {"fieldPath": "metadata.labels['moving']"}}
    spec = pod(
        "exec sleep 600",
        **mounted(
            {"name": "config", "configMap": {"name": "moving"}},
            {"name": "secret", "secret": {"secretName": "moving"}},
            {"name": "all", "projected": {"sources": [{"configMap": {"name": "moving"}}]}},
            {"name": "fields", "downwardAPI": {"items": [label]}},
        ),
    )
    spec["containers"][0]["volumeMounts"].append({"name": "config", "mountPath": "/mnt/fixed", "subPath": "a"})
    stage.start("follows", spec)
    stage.reaches("follows", {"phase": "Running", "main": "Running"})
    assert read(stage, "/mnt/fixed", "/mnt/config/a", "/mnt/secret/s", "/mnt/all/a") == "oldoldoldold"
    stage.lab.api.patch(f"{spaces}/configmaps/moving", {"data": {"a": "new", "gone": None, "more": "x"}})
    stage.lab.api.patch(f"{spaces}/secrets/moving", {"stringData": {"s": "new"}})
    stage.lab.api.patch(stage.path("follows"), {"metadata": {"labels": {"moving": "new"}}})
    paths = ("/mnt/config/a", "/mnt/secret/s", "/mnt/all/a", "/mnt/fields/label")
    until("the volumes to be up to date", lambda: read(stage, *paths) == "new" * 4)
    # A file that is mounted by itself is not updated; what is no longer a key is no longer a file.
    assert read(stage, "/mnt/fixed") == "old"
    assert run(stage, "ls", "/mnt/config", "/mnt/all").split() == [
        "/mnt/all:",
        "a",
        "more",
        "/mnt/config:",
        "a",
        "more",
    ]


def read(stage: Stage, *paths: str) -> str:
    return run(stage, "cat", *paths)


def run(stage: Stage, *command: str) -> str:
    connection = stage.exec("follows", *command)
    connection.run_forever(timeout=30)
    return str(connection.read_stdout() if connection.peek_stdout() else "")
