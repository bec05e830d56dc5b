"""Where a task says what its fleet is and how it goes."""

from __future__ import annotations

XCOM_FLEET = "spotmix_fleet"
