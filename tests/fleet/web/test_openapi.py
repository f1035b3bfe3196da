"""The OpenAPI description has every path of the server, and every answer conforms to it."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import given
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fleet.datadir.delivery_status import TargetStatus
from fleet.runtime.commands import COMMAND_ADAPTER
from fleet.web.app import create_app
from fleet.web.views.control import parse_number
from fleet.web.views.monitoring import openapi_document
from tests.fleet.staged import StagedFleet, sensor_name
from tests.fuzz.bounds import examples
from tests.process.conftest import LIVELY
from tests.process.running_fleet import FleetProcess, wait_for

DESCRIPTION = openapi_document()
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION)
OPERATIONS = [
    (path, method) for path, item in DESCRIPTION["paths"].items() for method in ("get", "post") if method in item
]
GETS = [path for path, method in OPERATIONS if method == "get"]
HERE = Resource.from_contents(DESCRIPTION, default_specification=DRAFT202012)
REGISTRY: Registry[Any] = Registry().with_resource("here", HERE)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

# Commands to a fleet of three that are possible in this order.
COMMANDS: dict[str, dict[str, Any]] = {
    "/api/scale": {"count": 4},
    "/api/inject": {"type": "spike", "seconds": 30, "id": "demo-1", "share": 0.5},
    "/api/cancel": {"id": "demo-1"},
    "/api/pause": {},
    "/api/resume": {"share": 1.0},
    "/api/probability": {"probability": 0.05},
    "/api/rollout": {"firmware": "1.4"},
}


def resolved(node: Any) -> Any:
    """Return the target of a reference in the description."""
    while "$ref" in node:
        target = DESCRIPTION
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def answers(path: str, method: str, status: int) -> dict[str, Any]:
    """Return the schemas of an answer by media type."""
    responses = DESCRIPTION["paths"][path][method]["responses"]
    assert str(status) in responses, f"{method} {path}: {status} is not described"
    content: dict[str, Any] = resolved(responses[str(status)]).get("content", {})
    return content


def complaints(document: Any, schema: Any) -> list[str]:
    # A reference is looked up in the description as a whole.
    absolute = json.loads(json.dumps(schema).replace('"#/', '"here#/'))
    found = Draft202012Validator(absolute, registry=REGISTRY).iter_errors(document)
    return [f"{error.json_path}: {error.message[:200]}" for error in found]


def asked(url: str, headers: Mapping[str, str] = MappingProxyType({}), body: Any = None) -> tuple[int, str, bytes]:
    """Return status, media type and body."""
    data = None if body is None else json.dumps(body).encode()
    more = {"Content-Type": "application/json"} if body is not None else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, {**headers, **more}), timeout=30) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get_content_type(), error.read()


def assert_described(path: str, method: str, answer: tuple[int, str, bytes]) -> None:
    status, media_type, body = answer
    content = answers(path, method, status)
    assert media_type in content, f"{path}: {media_type}"
    if media_type == "application/json":
        assert [] == complaints(json.loads(body), content[media_type]["schema"]), path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetProcess]:
    """A fleet that no test scales or restarts."""
    yield from lively_fleet(tmp_path_factory.mktemp("running"))


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[FleetProcess]:
    yield from lively_fleet(tmp_path)


def lively_fleet(directory: Path) -> Iterator[FleetProcess]:
    """Three sensors, each of which has had an anomaly; without long patterns that takes a second."""
    (directory / "fleet.yaml").write_text(
        LIVELY.replace("    noise:", "    pattern: {weight: 0.1, duration_readings: 5}\n    noise:")
    )
    running = FleetProcess(directory / "data", directory / "output", "-c", directory / "fleet.yaml")
    try:
        running.ready()
        wait_for(lambda: all(running.row(sensor)["anomalies"].sum() for sensor in running.sensors), "anomalies")
        yield running
    finally:
        running.end()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return create_app(StagedFleet(tmp_path_factory.mktemp("staged") / "data").run)


def test_every_path_is_described_and_every_description_is_served(app: Flask) -> None:
    """With its methods and the names of its parameters; only /static is left out."""
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith("/static/")
    }

    assert sorted(served) == sorted(OPERATIONS)


def test_the_description_itself(app: Flask) -> None:
    """It is served unchanged; every reference resolves, every schema is valid and used."""
    assert DESCRIPTION == json.loads(app.test_client().get("/openapi.json").data)
    assert DESCRIPTION["openapi"].startswith("3.1.")
    for schema in DESCRIPTION["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DESCRIPTION)))
    for reference in references:
        resolved({"$ref": f"#/{reference}"})
    for kind in ("schemas", "responses", "parameters"):
        unused = {f"components/{kind}/{name}" for name in DESCRIPTION["components"][kind]} - references
        assert set() == unused
    tags = {tag["name"] for tag in DESCRIPTION["tags"]}
    for path, method in OPERATIONS:
        operation = DESCRIPTION["paths"][path][method]
        assert set(operation["tags"]) <= tags
        assert operation["summary"]


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a part of the description."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(inner)


BODIES = [
    (path, resolved(item["post"]["requestBody"]["content"]["application/json"]["schema"]))
    for path, item in DESCRIPTION["paths"].items()
    if "post" in item
]


def test_generated_clients_keep_the_types() -> None:
    """What may be left out has one type, not one and null, which generators make an untyped value; only a null that means
    something may be sent. A text with a comma is quoted, or YAML makes further keys of it."""
    found = [key for path, body in BODIES for key, value in body["properties"].items() if "null" in json.dumps(value)]

    assert ["probability"] == found
    for node in nodes(DESCRIPTION):
        assert node.get("default", "") is not None
        assert [] == [key for key, value in node.items() if value is None]


@pytest.mark.parametrize(
    ("path", "body", "is_valid"),
    [
        ("/api/rollout", {"firmware": "2", "step": 0.1}, False),
        ("/api/rollout", {"firmware": "2", "every": 3}, False),
        ("/api/rollout", {"firmware": "2", "step": 0.1, "every": 3}, True),
        ("/api/scale", {"count": 3.0}, True),
        ("/api/scale", {"count": 2.5}, False),
        ("/api/inject", {"type": "spike", "seconds": 30}, True),
        ("/api/pause", {"share": 1}, True),
    ],
)
def test_the_fleet_takes_what_the_description_allows(path: str, body: dict[str, Any], is_valid: bool) -> None:
    """1.0 is a whole number, in the description and as a command."""
    schema = dict(BODIES)[path]
    text = json.dumps({**body, "command": path.removeprefix("/api/")})
    try:
        COMMAND_ADAPTER.validate_json(json.dumps(json.loads(text, parse_float=parse_number)))
        accepted = True
    except ValidationError:
        accepted = False

    assert (is_valid, is_valid) == (not complaints(body, schema), accepted)


# Loops, not parameters: the check for left-over processes takes half a second per test.


@pytest.mark.process
def test_every_document_of_a_real_fleet_is_as_described(running: FleetProcess) -> None:
    """No document has a property that is not described."""
    for path in GETS:
        answer = asked(running.url + path.replace("{sensor_id}", running.sensors[1]))
        assert 200 == answer[0], (path, answer)
        assert_described(path, "get", answer)


@pytest.mark.process
def test_an_unknown_sensor_is_as_described(running: FleetProcess) -> None:
    for path in (path for path in GETS if "{sensor_id}" in path):
        answer = asked(running.url + path.replace("{sensor_id}", "NOBODY_1"))
        assert 404 == answer[0], path
        assert_described(path, "get", answer)


def test_no_fleet_is_as_described(tmp_path: Path) -> None:
    """The answers where no fleet has started; some paths answer all the same."""
    client = create_app(tmp_path / "run").test_client()
    for path in GETS:
        found = client.get(path.replace("{sensor_id}", "DEN_1"))
        assert found.status_code in (200, 503), path
        assert_described(path, "get", (found.status_code, found.mimetype or "", found.data))


def test_an_unhealthy_fleet_is_as_described(tmp_path: Path) -> None:
    staged = StagedFleet(tmp_path / "data")
    staged.set(1, "failed", "gave up")
    client = create_app(staged.run).test_client()
    for path in ("/healthz", "/workers/{sensor_id}/healthz", "/workers", "/statusz"):
        found = client.get(path.replace("{sensor_id}", sensor_name(1)))
        assert (503 if "healthz" in path else 200) == found.status_code
        assert_described(path, "get", (found.status_code, found.mimetype or "", found.data))


def test_a_fleet_that_delivers_is_as_described(tmp_path: Path) -> None:
    """A target that is well, and one that makes the fleet degraded."""
    staged = StagedFleet(tmp_path / "data")
    staged.deliver(
        TargetStatus("jsonl:x", 5), TargetStatus("http://h/", error="no", failing_since=1.0, last_error="no", backlog=3)
    )
    client = create_app(staged.run).test_client()
    for path in ("/healthz", "/statusz", "/metricz", "/api/snapshot"):
        found = client.get(path)
        assert "http://h/" in found.get_data(as_text=True)
        assert_described(path, "get", (found.status_code, found.mimetype or "", found.data))


@pytest.mark.process
def test_every_command_is_as_described(changing: FleetProcess) -> None:
    """Bodies and answers: with the token, without it, with a wrong one, and with an invalid body."""
    token = (changing.data / "run" / "token").read_text().strip()
    commands = {"/api/restart": {"sensor": changing.sensors[0]}, **COMMANDS}
    assert set(commands) == {path for path, method in OPERATIONS if method == "post"}

    for path, body in commands.items():
        (schema,) = DESCRIPTION["paths"][path]["post"]["requestBody"]["content"].values()
        assert [] == complaints(body, schema["schema"]), path
        answer = asked(changing.url + path, {"Authorization": f"Bearer {token}"}, body)
        assert 200 == answer[0], (path, answer)
        for heard in (
            answer,
            asked(changing.url + path, {}, body),
            asked(changing.url + path, {"Authorization": "Bearer wrong"}, body),
            asked(changing.url + path, {"Authorization": f"Bearer {token}"}, {"nonsense": 1}),
        ):
            assert_described(path, "post", heard)
    for path in ("/api/events", "/api/injections", "/api/control"):
        assert_described(path, "get", asked(changing.url + path))


@pytest.mark.thorough
@pytest.mark.parametrize("authorized", [False, True])
def test_no_request_makes_the_server_fail(running: FleetProcess, authorized: bool) -> None:
    """Valid and invalid requests generated from the description: no answer is a 5xx, each conforms, and /healthz answers
    within a second. Without the token nothing has an effect; with it, all commands that start no process are sent."""
    token = (running.data / "run" / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}" if authorized else "Bearer wrong"}
    before = asked(f"{running.url}/api/events")
    for path, method in OPERATIONS:
        if authorized and (method == "get" or path in ("/api/scale", "/api/restart")):
            continue
        ask_for_anything(SCHEMA[path][method.upper()], running.url, headers)
        begun = time.monotonic()
        assert 200 == asked(f"{running.url}/healthz")[0]
        assert time.monotonic() - begun < 1

    assert authorized or before == asked(f"{running.url}/api/events")


def ask_for_anything(operation: Any, url: str, headers: dict[str, str]) -> None:
    """Send requests that the description allows, and requests that it does not."""
    for mode in GenerationMode:

        @examples(3)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(base_url=url, headers=headers, checks=CHECKS)

        # Raised where no request can be invalid: the path has no parameters, the method takes no body.
        with suppress(Unsatisfiable):
            ask()
