"""What a table of pods needs: they are all made at once, and everything that the API server tells of them is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import kubernetes
import urllib3
from kubernetes.stream import stream

from airflow_provider_spotmix.lab.api import Json
from airflow_provider_spotmix.lab.lab import Lab

DOCS = "https://kubernetes.io/docs/"
PATIENCE_SECONDS = 60.0

MARK = {"name": "mark", "emptyDir": {}}
MARKED = [{"name": "mark", "mountPath": "/mark"}]
SUCCEEDED = {"phase": "Succeeded", "main": "Completed 0"}
ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Case:
    """One row: a pod, and what becomes of it.

    Attributes:
        name: of the test and the pod.
        doc: the page, below `DOCS`, that says what must come.
        spec: of the pod, as `pod` makes it.
        reaches: what `summary` must come to; a pod that ends otherwise has failed the test.
        log: what the container `main` then has written; None: not looked at.

    """

    name: str
    doc: str
    spec: Json
    reaches: dict[str, str]
    log: str | Callable[[Json], str] | None = None


def pod(script: str = "", *, init: list[Json] | None = None, others: list[Json] | None = None, **main: Any) -> Json:
    """A pod whose container `main` runs a shell script. `spec` among the keywords is for the pod's own fields."""
    spec = main.pop("spec", {})
    containers = [container("main", script, **main), *(others or [])]
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 30,
        "containers": containers,
        **({"initContainers": init} if init else {}),
        **spec,
    }


def container(name: str, script: str, **more: Any) -> Json:
    """A container that runs a shell script."""
    return {"name": name, "image": "lab/host", "command": ["sh", "-c", script], **more}


def sidecar(name: str, script: str, **more: Any) -> Json:
    """An init container that goes on beside the others."""
    return container(name, script, restartPolicy="Always", **more)


def on_term(action: str) -> str:
    """A script that says when it can be asked to end, and then does this."""
    return f"trap '{action}' TERM; echo ready; while :; do sleep 0.1; done"


def summary(body: Json) -> dict[str, str]:
    """A pod in a line: its phase and the reason for it, and each container, for example ``Error 3: message``."""
    status = body["status"]
    lines = {"phase": status.get("phase", "")}
    if status.get("reason"):
        lines["reason"] = status["reason"]
    for kind in ("initContainerStatuses", "containerStatuses"):
        lines |= {entry["name"]: _container_line(entry) for entry in status.get(kind, [])}
    return lines


def _container_line(entry: Json) -> str:
    ((kind, state),) = entry["state"].items()
    words = {
        "running": "Running",
        "waiting": f"Waiting {state.get('reason')}",
        "terminated": f"{state.get('reason')} {state.get('exitCode')}",
    }
    restarts = entry["restartCount"]
    message = f": {state['message']}" if kind == "terminated" and state.get("message") else ""
    return words[kind] + (f", restarts {restarts}" if restarts else "") + message


def until(what: str, check: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait for something that no watch tells of."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what} in vain"
        time.sleep(0.1)
    return found


@dataclass
class Event:
    """What a watch said: its type, and the pod."""

    kind: str
    body: Json


@dataclass
class Stage:
    """A namespace, the pods in it, and their histories."""

    lab: Lab
    namespace: str
    histories: dict[str, list[Event]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._news = threading.Condition()
        self._watch = kubernetes.watch.Watch()
        self._closing = False
        client = kubernetes.config.new_client_from_config(str(self.lab.kubeconfig))
        self.core = kubernetes.client.CoreV1Api(client)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching, and have the namespace deleted."""
        self._closing = True
        self._watch.stop()  # it takes effect with the next event, which the deletion brings
        self.lab.delete_namespace(self.namespace)
        self._thread.join(PATIENCE_SECONDS)

    def _follow(self) -> None:
        client = kubernetes.config.new_client_from_config(str(self.lab.kubeconfig))
        core = kubernetes.client.CoreV1Api(client)
        try:
            for event in self._watch.stream(core.list_namespaced_pod, self.namespace):
                body = event["raw_object"]
                with self._news:
                    self.histories.setdefault(body["metadata"]["name"], []).append(Event(event["type"], body))
                    self._news.notify_all()
        except urllib3.exceptions.HTTPError:
            if not self._closing:
                raise

    def path(self, name: str) -> str:
        """Of a pod."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{name}"

    def start(self, name: str, spec: Json) -> None:
        """Create a pod."""
        metadata = {"name": name, "labels": {"row": name}, "annotations": {"note": f"of {name}"}}
        self.lab.api.create(
            f"/api/v1/namespaces/{self.namespace}/pods",
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        )

    def delete(self, name: str, **options: Any) -> None:
        """Ask for a pod's deletion, with the grace period of its own unless the options say otherwise."""
        self.lab.api.delete(self.path(name), options)

    def reaches(self, name: str, expected: dict[str, str]) -> Json:
        """Wait until a pod has been like this; fail if it ends otherwise."""

        def found(history: list[Event]) -> Json | None:
            for event in history:
                if summary(event.body) == expected:
                    return event.body
            last = history[-1] if history else None
            assert last is None or last.body["status"].get("phase") not in ENDED, self.story(name)
            return None

        body: Json = self._until(name, found)
        return body

    def ends(self, name: str) -> list[Event]:
        """Wait until a pod's object is gone; its whole history."""

        def found(history: list[Event]) -> list[Event] | None:
            return history if history and history[-1].kind == "DELETED" else None

        history: list[Event] = self._until(name, found)
        return history

    def _until(self, name: str, found: Callable[[list[Event]], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._news:
            while (result := found(self.histories.get(name, []))) is None:
                assert self._news.wait(deadline - time.monotonic()), self.story(name)
        return result

    def story(self, name: str) -> str:
        """Everything that a pod has been, for a failure's message."""
        lines = [f"pod {name} was:"]
        lines += [f"  {event.kind} {summary(event.body)}" for event in self.histories.get(name, [])]
        return "\n".join(lines)

    def log(self, name: str, **options: Any) -> str:
        """A container's log, `main`'s unless `container` says otherwise; the options of the official client."""
        options = {"container": "main"} | options
        # Not decoded by the client: it would take a log that looks like JSON apart.
        answer = self.core.read_namespaced_pod_log(name, self.namespace, _preload_content=False, **options)
        return str(answer.data.decode())

    def prints(self, name: str, text: str, container: str = "main") -> None:
        """Wait until a container has written a text."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if text in self.log(name, container=container):
                    return
            except kubernetes.client.ApiException as error:
                if error.status not in {400, 404}:  # it has not started yet, or its node does not know of it
                    raise
            assert time.monotonic() < deadline, self.story(name)
            time.sleep(0.1)

    def exec(self, name: str, *command: str, **options: Any) -> Any:
        """Run a command in `main`; the client's open connection."""
        options = {"stdin": False, "stdout": True, "stderr": True, "tty": False} | options
        connect = self.core.connect_get_namespaced_pod_exec
        return stream(
            connect, name, self.namespace, container="main", command=list(command), _preload_content=False, **options
        )
