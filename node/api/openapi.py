"""OpenAPI 3.1, generated from the route table and the msgspec types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import atoll
import msgspec
from atoll.node.api.problems import MEDIA_TYPE, Problem
from atoll.node.api.routing import Route


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The description of the API as a JSON tree."""
    types = [type_ for route in routes for type_ in (route.body, route.result) if type_ is not None]
    schemas, components = msgspec.json.schema_components([*types, Problem], ref_template="#/components/schemas/{name}")
    by_type = dict(zip(map(str, [*types, Problem]), schemas, strict=True))
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Atoll", "version": atoll.__version__},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    result = {"application/json": {"schema": schemas[str(route.result)]}} if route.result else {}
    problem = {} if route.enveloped else {MEDIA_TYPE: {"schema": schemas[str(Problem)]}}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "responses": {
            "2XX": {"description": "success", "content": result},
            **({"default": {"description": "problem", "content": problem}} if problem else {}),
        },
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", route.path)
        ],
    }
    if route.scope:
        operation |= {"security": [{"bearer": []}], "x-scope": route.scope}
    if route.body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas[str(route.body)]}},
        }
    return operation
