"""The facade for the unmodified client of Beimingwu (``learnware.client.LearnwareClient``): host = URL + /beimingwu."""

from atoll.node.api.beimingwu import auth, downloading, search, uploading

ROUTES = (*auth.ROUTES, *search.ROUTES, *uploading.ROUTES, *downloading.ROUTES)

__all__ = ["ROUTES"]
