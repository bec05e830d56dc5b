"""A hook of hatchling: no distribution without the page that Airflow's UI shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NeedsPage(BuildHookInterface):
    """Refuses to build a wheel or source distribution that would have no page. An editable installation may."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Look before anything is packed.

        Raises:
            FileNotFoundError: the page has not been built.

        """
        page = Path(self.root) / "airflow_provider_spotmix" / "plugins" / "static" / "index.html"
        if version != "editable" and not page.is_file():
            raise FileNotFoundError(f"{page} is missing: build the page first: make ui, or build all: make wheel")
