"""The one HTTP client: under the command line, under the demo, and as ``atoll.AsyncClient`` for programs."""

from atoll.node.client.client import AsyncClient
from atoll.node.client.transport import RemoteError

__all__ = ["AsyncClient", "RemoteError"]
