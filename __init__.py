"""Atoll: a federated, peer-to-peer learnware dock.

``atoll.engine`` holds the mathematics and the models, ``atoll.protocol`` what peers say to each other,
``atoll.node`` the institution's daemon. ``atoll.Client`` talks to a node over HTTP and loads on first use.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]

if TYPE_CHECKING:
    from atoll.node.client import Client


def __getattr__(name: str) -> Any:
    if name == "Client":
        from atoll.node.client import Client

        return Client
    raise AttributeError(f"module 'atoll' has no attribute {name!r}")
