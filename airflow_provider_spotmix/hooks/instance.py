"""What this Airflow deployment is called. Fleets of one that is called otherwise are nobody's business here."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import conf

_WITHOUT_A_NAME = "airflow"


def instance_name() -> str:
    """Return ``[spotmix] instance``, else ``[api] base_url``, else a word that says nothing."""
    found = conf.get("spotmix", "instance", fallback=None) or conf.get("api", "base_url", fallback=None)
    return str(found or _WITHOUT_A_NAME).rstrip("/")


def is_distinctive() -> bool:
    """Whether no other deployment can be called the same by mere default.

    What is deleted because this Airflow does not know it must not be another one's that goes by the same name.
    """
    if conf.get("spotmix", "instance", fallback=None):
        return True
    host = urlsplit(instance_name()).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host not in ("", "localhost")
