"""The routes of the fleet view: the page, and the data that it shows. They only read, and only Airflow's database."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response, status
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from airflow_provider_spotmix.plugins import fleets, links
from airflow_provider_spotmix.plugins.access import MAY_READ_DAG, GetUserDep, readable_dags

STATIC = Path(__file__).parent / "static"

# The page loads what is its own, and nothing else; only Airflow shows it in a frame.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_FOR_EVER = "public, max-age=31536000, immutable"  # names of assets have a digest of their content in them

api = APIRouter(prefix="/api/v1")


@api.get("/fleets")
def find_fleets(
    request: Request, session: SessionDep, user: GetUserDep, query: Annotated[fleets.FleetQuery, Query()]
) -> Response:
    """Return the fleets of all DAGs that the user may read, newest first unless asked otherwise."""
    dag_ids = readable_dags(user, fleets.dag_ids(session))
    return _answer(request, fleets.find(session, dag_ids, query))


@api.get("/dags/{dag_id}/runs/{run_id}/fleets", dependencies=MAY_READ_DAG)
def fleets_of_run(request: Request, session: SessionDep, dag_id: str, run_id: str) -> Response:
    """Return the fleets of a DAG run."""
    found = fleets.of_run(session, dag_id, run_id)
    if found is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no run {run_id!r} of the DAG {dag_id!r}")
    return _answer(request, {"fleets": found})


@api.get("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}", dependencies=MAY_READ_DAG)
def fleet_of_task(
    request: Request, session: SessionDep, dag_id: str, run_id: str, task_id: str, map_index: int
) -> Response:
    """Return all that is known of the fleet of a task instance. ``map_index`` is -1 for one that is not mapped."""
    return _answer(request, _of_task(session, dag_id, run_id, task_id, map_index))


def go(session: SessionDep, dag_id: str, run_id: str, task_id: str, map_index: int) -> Response:
    """Lead on to the Spark UI of the fleet's first driver that there is, or to where its history is."""
    fleet = _of_task(session, dag_id, run_id, task_id, map_index)["fleet"]
    url = links.best(fleet or {})
    if url is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, links.why_none(fleet))
    return RedirectResponse(url, status.HTTP_302_FOUND, {"Cache-Control": "no-store"})


def page(view: Literal["task", "run", "fleets"]) -> Response:
    """Return the page. It holds no data: what it shows, it asks for with the credentials of who looks at it."""
    index = STATIC / "index.html"
    if not index.is_file():
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, "this installation has no UI; build it: make ui")
    return FileResponse(index, headers={"Cache-Control": "no-cache"})


def create_app() -> FastAPI:
    """Make the application that Airflow mounts."""
    app = FastAPI(title="Spark fleets", openapi_url=None)
    app.middleware("http")(_with_headers)
    app.include_router(api)
    app.get("/go/{dag_id}/{run_id}/{task_id}/{map_index}", dependencies=MAY_READ_DAG)(go)
    app.get("/ui/{view}")(page)
    if STATIC.is_dir():
        app.mount("/static", StaticFiles(directory=STATIC))
    return app


def _of_task(session: SessionDep, dag_id: str, run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
    found = fleets.of_task(session, dag_id, run_id, task_id, map_index)
    if found is None:
        where = f"task {task_id!r} with map index {map_index} in run {run_id!r} of the DAG {dag_id!r}"
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no {where}")
    return found


def _answer(request: Request, data: dict[str, Any]) -> Response:
    """Send it, unless the browser has it already."""
    body = json.dumps(data, separators=(",", ":")).encode()
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    # A proxy that compresses makes a tag weak.
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers.update(_HEADERS)
    if request.scope["path"].rpartition("/static/assets/")[1] and response.status_code == status.HTTP_200_OK:
        response.headers["Cache-Control"] = _FOR_EVER
    return response
