"""From a sensor's arguments to which fleet it looks at and what it waits for; what is wrong in them is found here."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_spotmix.core.errors import InvalidInputError, shown
from airflow_provider_spotmix.core.mix import Mix
from airflow_provider_spotmix.core.wish import State, Wish
from airflow_provider_spotmix.fleet.picture import Target
from airflow_provider_spotmix.manifests.identity import VALID_NAME
from airflow_provider_spotmix.manifests.labels import label_value

_FLEET_ID = re.compile(r"[0-9a-f]{16}")
_EXECUTORS = "give a count such as 5, or a share such as 0.8 or '80%'"


def read_target(
    *,
    fleet: Any,
    name: Any,
    label_selector: Any,
    task: Mapping[str, str] | None,
    namespace: str | None,
    default_namespace: Callable[[], str],
) -> Target:
    """Return which applications are meant.

    Raises:
        InvalidInputError: an argument is empty after its templates were rendered, or is no fleet or name.

    """
    if task is not None:
        marks = {key: label_value(value) for key, value in task.items()}
        return Target(namespace=namespace or default_namespace(), task=marks)
    if fleet is not None:
        found = _fleet(fleet)
        return Target(
            namespace=namespace or found.get("namespace") or default_namespace(), fleet=str(found.get("fleet"))
        )
    if name is not None:
        if not isinstance(name, str) or not VALID_NAME.fullmatch(name):
            raise InvalidInputError(f"name is {shown(name)}; give the name of a SparkApplication")
        return Target(namespace=namespace or default_namespace(), name=name)
    if not isinstance(label_selector, str) or not label_selector.strip():
        raise InvalidInputError(f"label_selector is {shown(label_selector)}; give labels such as 'team=etl'")
    return Target(namespace=namespace or default_namespace(), selector=label_selector.strip())


def _fleet(value: Any) -> Mapping[str, Any]:
    """What a fleet's XCom holds: a mapping, or its text after a template was rendered; or just the id."""
    found = value
    if isinstance(found, str) and _FLEET_ID.fullmatch(found.strip()):
        return {"fleet": found.strip()}
    if isinstance(found, str):
        found = _mapping(found.strip())
    if isinstance(found, Mapping) and _FLEET_ID.fullmatch(str(found.get("fleet"))):
        return found
    raise InvalidInputError(
        f"fleet is {shown(value)}, no fleet; give its id, or pull the XCom 'spotmix_fleet' of the task that submits it"
        " (which must have begun to run; fleet_task_id waits for that)"
    )


def _mapping(text: str) -> Any:
    """A template renders a mapping as Python writes it; with the filter ``tojson`` as JSON."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def read_wish(*, wait_for: str | None, executors_running: Any, mix: Mix | None, tolerance: int) -> Wish:
    """Return what is waited for.

    Raises:
        InvalidInputError: the number of executors makes no sense.

    """
    count, share = _executors(executors_running)
    if wait_for is None and executors_running is None and mix is None:
        wait_for = "succeeded"
    state = State(wait_for) if wait_for else None
    return Wish(state=state, executors=count, share=share, mix=mix, tolerance=tolerance)


def _executors(value: Any) -> tuple[int | None, float | None]:
    """A whole number is a count; a fraction, a percentage and 1.0 are shares."""
    if value is None:
        return None, None
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,10}(\.\d{1,10})?%?", text, re.ASCII):
        raise InvalidInputError(f"executors_running is {shown(value)}; {_EXECUTORS}")
    if text.isdecimal():
        return int(text), None
    try:
        share = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except InvalidOperation:
        raise InvalidInputError(f"executors_running is {shown(value)}; {_EXECUTORS}") from None
    if share > 1:
        raise InvalidInputError(f"executors_running is {shown(value)}, more than all; {_EXECUTORS}")
    return None, float(share)
