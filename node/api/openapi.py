"""OpenAPI 3.1, generated from the route table and the msgspec types; docstrings are the descriptions."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import atoll
import msgspec
from atoll.node.api.described import EVENTS, FORM, LINES, Field, parameters
from atoll.node.api.problems import MEDIA_TYPE, Problem
from atoll.node.api.routing import Route
from atoll.node.errors import OUTCOMES
from atoll.node.store.tokens import Scope
from atoll.node.telling import Event

JSON = "application/json"
CODES = "the stable code of an error; branch on it, never on words"
REACHING = (502, 504)  # a peer failed, or did not answer in time
WRITING = (503, 507)  # the store did not take it, or no space is left
STOPPING = (503,)
STREAMED = {  # of each event, and of each line
    EVENTS: {
        "type": "object",
        "description": "a server-sent event; its data is JSON",
        "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}},
    },
    LINES: {"$ref": "#/components/schemas/Event"},
}
DESCRIPTION = (
    "A node of Atoll, a federated dock of learnwares. One node is enough to use the whole network. "
    "Errors are problem details (RFC 9457) with a stable `code`. Times are milliseconds UTC; ids are lower-case hex, "
    "peers are PeerIds. Where too much is asked, 429 comes with `Retry-After`."
)
SCOPES: dict[Scope, str] = {
    "read": "search and look", "predict": "predict and download", "publish": "publish and answer requests",
    "admin": "everything",
}  # fmt: skip


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The description of the API as a JSON tree."""
    types = list({str(type_): type_ for route in routes for type_ in _types(route)}.values())
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(map(str, types), schemas, strict=True))
    components["Problem"]["properties"]["code"] |= {"enum": sorted(OUTCOMES), "description": CODES}
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Atoll", "version": atoll.__version__, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in sorted({_tag(route) for route in routes})],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {"Problem": _problem(by_type[str(Problem)])},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": _scopes()}},
        },
    }


def _types(route: Route) -> Iterator[Any]:
    yield Problem
    yield from (each for each in (route.body, *_results(route)) if each is not None)
    yield from (field.type for _, field in parameters(route.path, route.ids, route.query, route.headers))
    yield from (field.type for field in route.form if field.type is not bytes)


def _results(route: Route) -> tuple[Any, ...]:
    """What the JSON of an answer may be; of a stream it is each event."""
    return route.result if isinstance(route.result, tuple) else (route.result,) if route.result else ()


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}",
        "tags": [_tag(route)],
        "summary": route.summary,
        "description": _words(route),
        "parameters": [
            _parameter(where, field, schemas)
            for where, field in parameters(route.path, route.ids, route.query, route.headers)
        ],
        "responses": _responses(route, schemas),
    }
    if route.scope:
        required: list[dict[str, list[str]]] = [{"bearer": [route.scope]}]
        operation |= {"security": [*required, *([{}] if route.anonymous else [])], "x-scope": route.scope}
    body = _body(route, schemas)
    return operation | ({"requestBody": body} if body else {})


def _parameter(where: str, field: Field, schemas: dict[str, Any]) -> dict[str, Any]:
    described = {"description": field.words} if field.words else {}
    schema = schemas[str(field.type)]
    return {"name": field.name, "in": where, "required": field.required, "schema": schema, **described}


def _body(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    if route.form:
        return {"required": True, "content": {FORM: {"schema": _form(route.form, schemas)}}}
    if route.takes:
        return {"required": True, "content": {route.takes: {"schema": {"type": "string", "format": "binary"}}}}
    if route.body:
        return {"required": not route.optional, "content": {JSON: {"schema": schemas[str(route.body)]}}}
    return {}


def _form(fields: tuple[Field, ...], schemas: dict[str, Any]) -> dict[str, Any]:
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    properties = {
        field.name: {**(file if field.type is bytes else schemas[str(field.type)]), "description": field.words}
        for field in fields
    }
    return {"type": "object", "properties": properties, "required": [field.name for field in fields if field.required]}


def _responses(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    """Refusals are one entry for all of 4XX; of 5XX there are those that are to be expected."""
    content = _content(route, schemas)
    whole: dict[str, Any] = {"description": "done" if route.status != 204 else "done, nothing to say"}
    responses: dict[str, Any] = {str(route.status): whole | ({"content": content} if content else {})}
    for status, words in route.more.items():
        part = {"content": content} if status == 206 else {}
        responses[str(status)] = {"description": words, **part}
    problem = {"$ref": "#/components/responses/Problem"}
    expected = {*STOPPING, *(WRITING if route.writes else ()), *(REACHING if route.reaches else ())}
    return responses | {"4XX": problem} | {str(status): problem for status in sorted(expected)}


def _content(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    found = [schemas[str(each)] for each in _results(route) if each is not Event]
    whole: dict[str, Any] = {JSON: {"schema": found[0] if len(found) == 1 else {"anyOf": found}}} if found else {}
    return whole | {media: {"schema": STREAMED.get(media, {"type": "string"})} for media in route.gives}


def _problem(schema: dict[str, Any]) -> dict[str, Any]:
    wait = {"description": "seconds until it may be tried again, with 429 and 503", "schema": {"type": "string"}}
    return {
        "description": "what is wrong, and what to do about it",
        "headers": {"Retry-After": wait},
        "content": {MEDIA_TYPE: {"schema": schema}},
    }


def _words(route: Route) -> str:
    said = inspect.cleandoc(route.handler.__doc__ or "").replace("``", "`").replace("\n", " ")
    anybody = ", or nobody known where anybody may search" if route.anonymous else ""
    needs = f"Scope: {route.scope}{anybody}." if route.scope else ""
    kept = f"Kept in the audit log as `{route.act}`." if route.act else ""
    return " ".join(filter(None, [said, needs, kept]))


def _scopes() -> str:
    return "A token with a scope: " + "; ".join(f"{each}: {SCOPES[each]}" for each in get_args(Scope)) + "."


def _tag(route: Route) -> str:
    first, *rest = route.path.strip("/").split("/")
    return rest[1] if first == "api" else first if first == "beimingwu" else "node"
