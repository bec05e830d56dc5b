"""Links to where Spark shows a fleet's applications: its UI while they run, a history server afterwards.

Neither is reachable from a browser by itself, so both are configured: ``[spotmix] spark_ui_url`` and
``history_server_url``, with ``{namespace}``, ``{application}``, ``{driver_pod}`` and ``{spark_application}`` in them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import conf

log = logging.getLogger(__name__)

PAGES = {"spark_ui": "spark_ui_url", "history_server": "history_server_url"}
PLACEHOLDERS = ("namespace", "application", "driver_pod", "spark_application")


def with_links(fleet: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fleet's picture whose drivers have ``links``: a URL by page, None where there is none."""
    drivers = [driver for driver in fleet.get("drivers") or () if isinstance(driver, dict)]
    templates = {page: _template(option) for page, option in PAGES.items()}
    linked = [
        {**driver, "links": {page: _url(template, fleet, driver) for page, template in templates.items()}}
        for driver in drivers
    ]
    return {**fleet, "drivers": linked}


def best(fleet: Mapping[str, Any]) -> str | None:
    """Return the URL that shows most: of a driver's Spark UI while the fleet runs, of its history afterwards."""
    is_over = fleet.get("summary", {}).get("state") not in ("submitted", "running")
    pages = reversed(PAGES) if is_over else PAGES
    urls = (driver["links"][page] for page in pages for driver in fleet.get("drivers") or ())
    return next((url for url in urls if url), None)


def why_none(fleet: Mapping[str, Any] | None) -> str:
    """Say why there is no URL."""
    if not any(_template(option) for option in PAGES.values()):
        return f"nobody has said where it is: set [spotmix] {' or '.join(PAGES.values())}"
    return "no driver is known yet: try again when one runs" if fleet else "this task has submitted no fleet"


def _template(option: str) -> str:
    """Return what is configured; empty if nothing is, or nothing that can be used."""
    template = conf.get("spotmix", option, fallback=None) or ""
    try:
        example = template.format(**dict.fromkeys(PLACEHOLDERS, "x"))
    except (KeyError, IndexError, ValueError, AttributeError):
        log.warning("[spotmix] %s=%r: the placeholders are %s", option, template, ", ".join(PLACEHOLDERS))
        return ""
    if template and urlsplit(example).scheme not in ("http", "https"):
        log.warning("[spotmix] %s=%r: it has to begin with http:// or https://", option, template)
        return ""
    return str(template)


def _url(template: str, fleet: Mapping[str, Any], driver: Mapping[str, Any]) -> str | None:
    """Fill in what is known; None when something that it takes is not."""
    values = {
        "namespace": fleet.get("namespace"),
        "application": driver.get("application"),
        "driver_pod": driver.get("pod"),
        "spark_application": driver.get("spark_application"),
    }
    needed = [name for name in values if f"{{{name}}}" in template]
    if not template or not all(isinstance(values[name], str) and values[name] for name in needed):
        return None
    return template.format(**{name: quote(str(value), safe="") for name, value in values.items()})
