"""Where the lab keeps things: a cache that stays, and a directory per lab that `down` removes.

Both follow the XDG base directories (XDG_CACHE_HOME, XDG_STATE_HOME), read at every call so that tests can move them.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import platformdirs

from airflow_provider_spotmix.lab.errors import LabError

# Also a part of node names and of file names: as strict as a DNS label.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def cache_dir() -> Path:
    """Binaries and locks, shared by all labs of this user; safe to delete while no lab runs."""
    return _private(Path(platformdirs.user_cache_dir("spotmix", appauthor=False)))


def labs_dir() -> Path:
    """The directory in which every lab of this user has its own."""
    return Path(platformdirs.user_state_dir("spotmix", appauthor=False)) / "labs"


def lab_dir(name: str) -> Path:
    """Directory of the lab `name`, which may not exist.

    Raises:
        LabError: the name is not 1 to 40 of ``a-z 0-9 -``, starting and ending with a letter or digit.

    """
    if not _NAME.fullmatch(name):
        raise LabError(f"lab name {name!r} is not 1 to 40 of a-z, 0-9 and -, with a letter or digit at both ends")
    return labs_dir() / name


def lock_path(name: str) -> Path:
    """Lock file `name`. Locks live in the cache, because `down` leaves nothing but the cache."""
    return _private(cache_dir() / "locks") / name


def lab_lock_path(name: str) -> Path:
    """Lock file for starting and stopping the lab `name`; a few names share each, so that they do not pile up."""
    return lock_path(f"lab-{zlib.crc32(name.encode()) % 16:x}")


def _private(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path
