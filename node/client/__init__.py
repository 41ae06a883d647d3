"""The one HTTP client: under the command line, under the demo, and as ``atoll.Client`` for programs."""

from atoll.node.client.client import Client
from atoll.node.client.transport import RemoteError

__all__ = ["Client", "RemoteError"]
