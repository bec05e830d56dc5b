"""What Airflow's database knows of fleets: the XComs that their tasks and triggers write, and the task instances."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from pydantic import BaseModel, Field
from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from airflow_provider_spotmix.hooks.addresses import task_page
from airflow_provider_spotmix.hooks.xcom import XCOM_FLEET
from airflow_provider_spotmix.plugins.links import with_links

_REPORT = "return_value"
# So many fleets, the newest, are looked at for a list and its totals.
MAX_FLEETS = 5000
# States in which a task may still have a fleet that runs.
_AT_WORK = ("scheduled", "queued", "running", "deferred", "restarting")
_NUMBERS = ("saved", "total", "interruptions", "executors")
_ORDERS = ("started_at", "ended_at", "dag_id", *_NUMBERS)


class FleetQuery(BaseModel):
    """Which fleets to list, and how."""

    state: Literal["running", "ended"] | None = None
    dag_id: str | None = None
    q: str = Field("", max_length=250, description="part of the id of a DAG, run or task")
    order_by: str = Field("-started_at", pattern=rf"^-?({'|'.join(_ORDERS)})$")
    limit: int = Field(50, ge=1, le=200)
    offset: int = Field(0, ge=0)


def dag_ids(session: Session) -> list[str]:
    """Return the ids of all DAGs that have fleets."""
    return list(session.scalars(select(XComModel.dag_id).where(XComModel.key == XCOM_FLEET).distinct()))


def find(session: Session, dag_ids: Collection[str], query: FleetQuery) -> dict[str, Any]:
    """Return fleets of these DAGs, a page of them, with the totals of all that the query selects."""
    statement = _rows().where(XComModel.dag_id.in_(dag_ids))
    if query.dag_id is not None:
        statement = statement.where(XComModel.dag_id == query.dag_id)
    if query.state is not None:
        at_work = func.coalesce(TaskInstance.state, _AT_WORK[0]).in_(_AT_WORK)
        statement = statement.where(at_work if query.state == "running" else ~at_work)
    if query.q:
        names = (XComModel.dag_id, XComModel.run_id, XComModel.task_id)
        statement = statement.where(or_(*(name.icontains(query.q, autoescape=True) for name in names)))
    statement = statement.order_by(TaskInstance.start_date.desc()).limit(MAX_FLEETS + 1)
    found = [_row(*each) for each in session.execute(statement)]
    truncated, found = len(found) > MAX_FLEETS, found[:MAX_FLEETS]
    page = _ordered(found, query.order_by)[query.offset : query.offset + query.limit]
    return {"fleets": page, "total": len(found), "totals": _totals(found), "truncated": truncated}


def of_run(session: Session, dag_id: str, run_id: str) -> list[dict[str, Any]] | None:
    """Return the fleets of a DAG run, in the order in which they began; None: there is no such run."""
    if session.scalar(select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)) is None:
        return None
    statement = _rows().where(XComModel.dag_id == dag_id, XComModel.run_id == run_id)
    return [_row(*each) for each in session.execute(statement.order_by(TaskInstance.start_date))]


def of_task(session: Session, dag_id: str, run_id: str, task_id: str, map_index: int) -> dict[str, Any] | None:
    """Return a task instance with its fleet's XCom and report; None: there is no such task instance."""
    where = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
    ti = session.scalar(select(TaskInstance).filter_by(**where))
    if ti is None:
        return None
    ours = XComModel.key.in_((XCOM_FLEET, _REPORT))
    values = session.execute(select(XComModel.key, XComModel.value).filter_by(**where).where(ours))
    xcoms: dict[str, Any] = {row.key: row.value for row in values}
    fleet = _fleet(xcoms.get(XCOM_FLEET), ti)
    return {
        "task": {
            **where,
            "state": ti.state,
            "try_number": ti.try_number,
            "start_date": _iso(ti.start_date),
            "end_date": _iso(ti.end_date),
            "log_url": task_page(dag_id, run_id, task_id, map_index),
        },
        "fleet": fleet,
        "report": _report(xcoms.get(_REPORT), fleet),
        "why_empty": None if fleet else _why_empty(ti, xcoms.get(XCOM_FLEET)),
    }


def _fleet(value: object, ti: TaskInstance) -> dict[str, Any] | None:
    if not isinstance(value, dict) or not isinstance(value.get("summary"), dict):
        return None
    return with_links({**value, "summary": _settled(value["summary"], ti.state, ti.end_date)})


def _report(value: object, fleet: dict[str, Any] | None) -> dict[str, Any] | None:
    if fleet is None or not isinstance(value, dict) or value.get("fleet") != fleet.get("fleet"):
        return None
    return value


def _why_empty(ti: TaskInstance, value: object) -> str:
    if value is not None:
        return "kept elsewhere"  # by a custom XCom backend, which leaves a reference
    return "nothing submitted yet" if ti.operator == "SparkFleetOperator" else "not a fleet task"


def _rows() -> Select[Any]:
    """Select what `_row` takes. Of an XCom only its summary is read, which is small."""
    instance = and_(
        TaskInstance.dag_id == XComModel.dag_id,
        TaskInstance.run_id == XComModel.run_id,
        TaskInstance.task_id == XComModel.task_id,
        TaskInstance.map_index == XComModel.map_index,
    )
    columns = (
        XComModel.value["summary"],
        TaskInstance.dag_id,
        TaskInstance.run_id,
        TaskInstance.task_id,
        TaskInstance.map_index,
        TaskInstance.try_number,
        TaskInstance.state,
        TaskInstance.end_date,
        DagRun.logical_date,
        DagModel._dag_display_property_value,
    )
    return (
        select(*columns)
        .join(TaskInstance, instance)
        .join(DagRun, DagRun.id == XComModel.dag_run_id)
        .outerjoin(DagModel, DagModel.dag_id == XComModel.dag_id)
        .where(XComModel.key == XCOM_FLEET)
    )


def _row(
    summary: Any,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int,
    try_number: int,
    state: str | None,
    end_date: Any,
    logical_date: Any,
    display_name: str | None,
) -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "dag_display_name": display_name or dag_id,
        "run_id": run_id,
        "task_id": task_id,
        "map_index": map_index,
        "try_number": try_number,
        "task_state": state,
        "logical_date": _iso(logical_date),
        "summary": _settled(summary if isinstance(summary, dict) else {}, state, end_date),
    }


def _settled(summary: dict[str, Any], state: str | None, end_date: Any) -> dict[str, Any]:
    """Return a summary whose state is the task's, too: nobody writes that a fleet is over when its task was killed."""
    if state in _AT_WORK or state is None or summary.get("state") not in ("submitted", "running"):
        return summary
    over = "failed" if state in ("failed", "up_for_retry", "upstream_failed") else "killed"
    return {**summary, "state": over, "ended_at": _iso(end_date), "estimated": True}


def _ordered(rows: list[dict[str, Any]], order_by: str) -> list[dict[str, Any]]:
    """Sort by a key; what has no value is last, whichever way."""
    key, backwards = order_by.removeprefix("-"), order_by.startswith("-")
    values = [(_value(row, key), row) for row in rows]
    known = sorted((each for each in values if each[0] is not None), key=lambda each: each[0], reverse=backwards)
    return [row for _, row in [*known, *(each for each in values if each[0] is None)]]


def _value(row: dict[str, Any], key: str) -> Any:
    if key in _NUMBERS:
        return _number(row["summary"].get(key))
    value = row["dag_id"] if key == "dag_id" else row["summary"].get(key)
    return value if isinstance(value, str) else None


def _totals(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sum up what fleets cost, by currency. What is no amount is left out."""
    totals: dict[str, dict[str, Decimal]] = {}
    counts: dict[str, int] = {}
    for row in rows:
        summary = row["summary"]
        amounts = {name: _number(summary.get(name)) for name in ("saved", "total", "all_on_demand")}
        currency = summary.get("currency")
        if not isinstance(currency, str) or None in amounts.values():
            continue
        sums = totals.setdefault(currency, dict.fromkeys(amounts, Decimal(0)))
        for name, amount in amounts.items():
            sums[name] += amount or 0
        counts[currency] = counts.get(currency, 0) + 1
    return [
        {"currency": currency, **{name: str(amount) for name, amount in sums.items()}, "fleets": counts[currency]}
        for currency, sums in sorted(totals.items())
    ]


def _number(value: object) -> Decimal | None:
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _iso(at: Any) -> str | None:
    return at.isoformat() if at else None
