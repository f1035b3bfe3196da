"""Commands over HTTP: with the token they take effect, without it they do not. A real server and a real control socket."""

from __future__ import annotations

import json

import pytest

from tests.fleet.sites import JSON, ServerProcess, read

pytestmark = pytest.mark.process


def test_commands_with_the_token(site: ServerProcess) -> None:
    """A command goes through the control socket, with its origin; the answer is that of the fleet."""
    assert (200, {"ok": True, "before": 3, "count": 7}) == site.post("/api/scale", {"count": 7})
    assert (200, {"ok": True, "before": 3, "count": 7}) == site.post("/api/scale", b'{"count": 7.0}')
    assert (409, {"error": "there is no sensor X"}) == site.post("/api/restart", {"sensor": "X"})
    assert 200 == site.post("/api/inject", {"type": "spike", "city": "Denver", "seconds": 30})[0]
    for path in ("pause", "resume", "rollout", "probability", "cancel"):
        body = {"rollout": {"firmware": "2"}, "probability": {"probability": 0.1}, "cancel": {"id": "x"}}
        assert 200 == site.post(f"/api/{path}", body.get(path, {"share": 0.5}), Authorization=f"bearer {site.token}")[0]

    assert ["scale", "scale", "restart", "inject", "pause", "resume", "rollout", "probability", "cancel"] == [
        command.command for command in site.commands
    ]
    assert {"http 127.0.0.1"} == {command.by for command in site.commands}


def test_a_thousand_sensors_can_be_named(site: ServerProcess) -> None:
    """A body has room for a thousand ids of thirty characters, also of several bytes; a larger body is refused."""
    for letter in ("x", "ü"):
        sensors = [f"SENSOR_{number:04d}_{letter * 18}" for number in range(1000)]
        body = json.dumps({"sensors": sensors}, ensure_ascii=False).encode()
        assert (200, {"ok": True}) == site.post("/api/pause", body)
    code, document = site.post("/api/pause", {"sensors": ["x" * 200] * 330})

    assert (413, ["error"], 2) == (code, list(document), len(site.commands))


REFUSED: dict[str, tuple[int, dict[str, str]]] = {
    "no token": (401, {"Authorization": ""}),
    "another scheme": (401, {"Authorization": "Basic eHg6eHg="}),
    "a token that is wrong": (403, {"Authorization": "Bearer " + "x" * 43}),
    "an empty one": (401, {"Authorization": "Bearer "}),
    "one with odd letters": (403, {"Authorization": "Bearer caf\xe9"}),
    "text": (415, {"Content_Type": "text/plain"}),
    "a form": (415, {"Content_Type": "application/x-www-form-urlencoded"}),
    "no type": (415, {"Content_Type": "x"}),
    "a page of somebody else": (403, {"Origin": "http://evil.example"}),
    "a file": (403, {"Origin": "null"}),
    "another port": (403, {"Origin": "http://127.0.0.1:1"}),
    "what a browser says": (403, {"Sec_Fetch_Site": "cross-site"}),
    "another name": (421, {"Host": "evil.example"}),
    "a name that looks like one": (421, {"Host": "127.0.0.1.evil.example"}),
    "no name": (421, {"Host": "[::1"}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_requests_have_no_effect(site: ServerProcess, what: str) -> None:
    """The answer is one line with the reason: no token, no cookie, no CORS."""
    status, headers = REFUSED[what]
    named = {"Content_Type": JSON, "Authorization": f"Bearer {site.token}", **headers}
    code, document, answer_headers = site.ask("/api/scale", b'{"count": 9}', **{k: v for k, v in named.items() if v})

    assert (status, ["error"], []) == (code, list(document), site.commands)
    assert site.token not in json.dumps(document) + json.dumps(answer_headers)
    assert [] == [name for name in answer_headers if name.lower().startswith(("set-cookie", "access-control-"))]
    assert (status == 401) == ("WWW-Authenticate" in answer_headers)


def test_a_token_in_the_url_is_ignored(site: ServerProcess) -> None:
    for query in (f"token={site.token}", f"access_token={site.token}", f"Authorization=Bearer%20{site.token}"):
        assert 401 == site.post(f"/api/scale?{query}", {"count": 9}, Authorization="")[0]
    assert [] == site.commands


def test_a_get_changes_nothing(site: ServerProcess) -> None:
    """Nor do other methods, even with the token."""
    for path in ("scale", "restart", "pause", "resume", "inject", "cancel", "rollout", "probability"):
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
            if method != "HEAD":
                code, document, answer_headers = site.ask(
                    f"/api/{path}?count=9", method=method, Authorization=f"Bearer {site.token}"
                )
                assert (405, "POST") == (code, answer_headers["Allow"]), document
    assert [] == site.commands


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is not JSON"),
        (b'{"count":', "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        (b"[1]", "the body is not a JSON object"),
        (b"[" * 12_000, "the body is nested too deeply"),
        (b'{"count": [[[[[[[[1]]]]]]]]}', "the body is nested too deeply"),
        (b'{"count": NaN}', "NaN is not a JSON number"),
        (b'{"count": 1e999}', "1e999 is too large a number"),
        (b'{"count": 2.5}', "scale.count: 2.5 is not a whole number"),
        (b'{"count": ' + b"9" * 5000 + b"}", "the body is not JSON"),
        (b'{"count": "9"}', "scale.count"),
        (b'{"count": 0}', "scale.count"),
        (b'{"count": 9, "path": "/x", "timeout": 0}', "scale.path"),
        (b'{"count": 9, "command": "down"}', "command: is set by the server"),
        (b'{"count": 9, "by": "root"}', "by: is set by the server"),
        (b'{"count": 9, "\\ud800": 1}', ""),
        (b"{}", "scale.count"),
    ],
)
def test_an_invalid_command_is_a_400(site: ServerProcess, body: bytes, reason: str) -> None:
    """The error names the mistake; no command is sent."""
    code, document = site.post("/api/scale", body)

    assert (400, True, []) == (code, reason in document["error"], site.commands), document


@pytest.mark.parametrize("path", ["/healthz", "/", "/api/control", "/static/icon.svg", "/nothing"])
def test_foreign_host_names_are_refused(site: ServerProcess, path: str) -> None:
    """Also for public paths, so that a page elsewhere cannot read them by DNS rebinding."""
    for host in ("evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "a b", "", "localhost:x"):
        assert 421 == site.ask(path, Host=host)[0] if host else True
    with site.connect() as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        assert read(client)[9:12] in (b"400", b"421")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "10.1.2.3:80", "[::1]:80", "fleet.example"]
)
def test_own_host_names_are_accepted(site: ServerProcess, host: str) -> None:
    assert 200 == site.ask("/livez", Host=host)[0]
    assert 200 == site.post("/api/scale", {"count": 7}, Host=host, Origin=f"http://{host.lower()}")[0]


@pytest.mark.parametrize(
    "path", ["..%2f..%2fetc%2fpasswd", "../../../etc/passwd", "%2e%2e/fleet.json", "a%00b", "<script>"]
)
def test_path_traversal_is_a_404(site: ServerProcess, path: str) -> None:
    """Foreign ids and files are not found, and the answer is JSON."""
    for prefix in ("/workers/", "/static/", "/workers/BER_000000/", "/"):
        assert 404 == site.ask(f"{prefix}{path}".replace("<", "%3C"))[0]
