"""The one HTTP client: ``AsyncClient``, under the command line and the demo too, and ``Client`` for scripts."""

from atoll.node.client.client import AsyncClient
from atoll.node.client.streams import SearchEvent
from atoll.node.client.sync import Client
from atoll.node.client.transport import RemoteError

__all__ = ["AsyncClient", "Client", "RemoteError", "SearchEvent"]
