"""How the documentation is built: `make docs`."""

from __future__ import annotations

from airflow_provider_spotmix import __version__

project = "airflow_provider_spotmix"
author = "the airflow_provider_spotmix authors"
project_copyright = "2026, " + author
release = version = __version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"spotmix {release}"

nitpicky = True
