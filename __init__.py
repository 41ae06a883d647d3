"""Atoll: a federated, peer-to-peer learnware dock.

``atoll.engine`` holds the mathematics and the models, ``atoll.protocol`` what peers say to each other,
``atoll.node`` the institution's daemon. ``atoll.Client``, for scripts, and ``atoll.AsyncClient`` talk to a node over
HTTP and load on first use.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__"]

if TYPE_CHECKING:
    from atoll.node.client import AsyncClient, Client


def __getattr__(name: str) -> Any:
    if name in __all__:
        from atoll.node import client

        return getattr(client, name)
    raise AttributeError(f"module 'atoll' has no attribute {name!r}")
