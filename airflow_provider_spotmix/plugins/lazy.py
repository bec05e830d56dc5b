"""The plugin's web application, made at the first request: only the API server ever gets one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

_Message = MutableMapping[str, Any]


class LazyApp:
    """An ASGI application that imports and makes the real one when it is needed."""

    @cached_property
    def _app(self) -> FastAPI:
        from airflow_provider_spotmix.plugins.app import create_app

        return create_app()

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Answer a request."""
        await self._app(scope, receive, send)
