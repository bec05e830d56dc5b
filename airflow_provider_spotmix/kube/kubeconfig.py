"""Read kubeconfigs as kubectl does: merge files, choose a context, resolve relative paths. No connection is made.

Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from airflow_provider_spotmix.core.errors import listed, shown
from airflow_provider_spotmix.kube.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TEXT_FIELDS = {"cluster": ("server",), "user": (), "context": ("cluster", "user", "namespace")}
_PATH_FIELDS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


@dataclass(frozen=True, slots=True)
class Selected:
    """One context of a kubeconfig with all that belongs to it. ``user`` holds secrets: never in ``repr``."""

    context: str
    server: str
    namespace: str | None
    cluster: Mapping[str, Any]
    user: Mapping[str, Any] = field(repr=False)


def default_paths() -> str:
    """Return ``$KUBECONFIG``, else ``~/.kube/config``; several paths are joined by ``os.pathsep``."""
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def select_from_files(paths: str, context: str | None) -> Selected:
    """Choose a context from one or more files; the first file that names an entry wins.

    Raises :class:`ConfigError` when no file exists, or one is not a kubeconfig, or the context is not there.
    """
    merged: dict[str, Any] = {"clusters": {}, "users": {}, "contexts": {}, "current-context": None}
    found = False
    for path in (Path(part).expanduser() for part in paths.split(os.pathsep) if part):
        if path.exists():
            found = True
            _merge(merged, _read(path), path.parent.absolute(), str(path))
    if not found:
        raise ConfigError(f"no kubeconfig at {paths!r}; set the connection's kube_config_path or $KUBECONFIG")
    return _select(merged, context, paths)


def select_from_text(text: str, context: str | None) -> Selected:
    """Choose a context from a kubeconfig's content. Raises :class:`ConfigError`."""
    source = "the connection's kube_config"
    merged: dict[str, Any] = {"clusters": {}, "users": {}, "contexts": {}, "current-context": None}
    _merge(merged, _parse(text, source), Path.cwd(), source)
    return _select(merged, context, source)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return _parse(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"cannot read kubeconfig {path}: {error.strerror}; check its permissions") from error


@functools.lru_cache(maxsize=16)
def _parse(text: str, source: str) -> Mapping[str, Any]:
    # Parsing costs milliseconds and every fleet asks for it, so it is done once per content.
    try:
        # By way of JSON, which is what kubectl makes of it: keys are text, and nothing contains itself.
        content = json.loads(json.dumps(yaml.safe_load(text), default=str))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # ValueError: the 31st of February
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        # The parser's own message quotes the text, which may be a secret.
        raise ConfigError(f"{source} is not valid YAML or JSON{where}; give a kubeconfig") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{source} is not a kubeconfig: expected a mapping, found {type(content).__name__}")
    return content


def _merge(merged: dict[str, Any], content: Mapping[str, Any], base: Path, source: str) -> None:
    for section, inner in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
        for name, entry in _entries(content, section, inner, source):
            merged[section].setdefault(name, _absolute(entry, base))
    merged["current-context"] = merged["current-context"] or _text(content, "current-context", source)


def _entries(
    content: Mapping[str, Any], section: str, inner: str, source: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and contents of a section's entries. Their values are never shown: they may be secrets."""
    entries = content.get(section) or []
    if not isinstance(entries, list):
        raise ConfigError(f"{source}: '{section}' is no list; fix the kubeconfig")
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ConfigError(f"{source}: an entry of '{section}' has no name; fix the kubeconfig")
        where = f"{source}: {inner} {shown(entry['name'])}"
        found = entry.get(inner) or {}
        if not isinstance(found, dict):
            raise ConfigError(f"{where} is no mapping; fix the kubeconfig")
        for key in (*_PATH_FIELDS, *_TEXT_FIELDS[inner]):
            _text(found, key, where)
        yield entry["name"], found


def _text(found: Mapping[str, Any], key: str, where: str) -> str | None:
    text = found.get(key)
    if text is not None and not isinstance(text, str):
        raise ConfigError(f"{where}: '{key}' is no text; put it into quotes")
    return text


def _absolute(entry: Mapping[str, Any], base: Path) -> dict[str, Any]:
    resolved = dict(entry)
    for key in _PATH_FIELDS:
        if resolved.get(key):
            resolved[key] = os.path.normpath(base / resolved[key])
    return resolved


def _select(merged: Mapping[str, Any], context: str | None, source: str) -> Selected:
    wanted = context or merged["current-context"]
    known = listed(sorted(merged["contexts"])) or "none"
    if not wanted:
        raise ConfigError(f"{source} has no current-context; name one of its contexts: {known}")
    chosen = merged["contexts"].get(wanted)
    if chosen is None:
        raise ConfigError(f"unknown context {shown(wanted)}; contexts of {source}: {known}")
    cluster = merged["clusters"].get(chosen.get("cluster"))
    if not cluster or not cluster.get("server"):
        raise ConfigError(
            f"context {shown(wanted)} of {source} names cluster {shown(chosen.get('cluster'))}, which has no server"
        )
    try:
        urlsplit(cluster["server"])
    except ValueError:  # an address of IPv6 without its end, for one
        raise ConfigError(f"the server of context {shown(wanted)} of {source} is no URL; correct it") from None
    user_name = chosen.get("user")
    user = merged["users"].get(user_name)
    if user is None and user_name:
        raise ConfigError(f"context {shown(wanted)} of {source} names user {shown(user_name)}, which is not there")
    return Selected(wanted, str(cluster["server"]).rstrip("/"), chosen.get("namespace"), cluster, user or {})
