"""URLs with secrets in them: where they may come from, and how they are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions, open_target, read_back
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.target_urls import Login, resolve_target, without_password


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:pw@h/db",
        "http://u:p/w@h/",
        "mqtt://:pw@h",
        "mqtt://u:1234a/x@h",
        "x:u:pw@h",
        "HTTP://u:p@w@h",
        "https://user:p:w@[::1]:8/x",
    ],
)
def test_a_password_is_recognised(url: str) -> None:
    with pytest.raises(ValueError, match="has a password in it"):
        without_password(url)
    assert "***@" in escape_short(url)
    assert "u:" not in escape_short(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://h:8080/a@b",
        "mqtt://h:1883/t/{sensor_id}@x?qos=1",
        "postgresql://u@h:5432/db",
        "sqlite:////srv/a:b@c/x.db",
        "jsonl:/srv/me@x/12:30.jsonl",
        "http://[::1]:80/x@y",
        "parquet:a@b",
        "env:NAME",
        "file:/a:b@c",
    ],
)
def test_what_is_no_password(url: str) -> None:
    assert url == without_password(url)


@pytest.mark.parametrize(
    ("url", "rest", "login"),
    [
        ("postgresql://u:p%40%2Fw@h:1/db?x=1", "postgresql://h:1/db?x=1", Login("u", "p@/w")),
        ("http://u:p@w@h", "http://h", Login("u", "p@w")),
        ("mqtt://u@h/a@b", "mqtt://h/a@b", Login("u", "")),
        ("http://h/x?key=k", "http://h/x?key=k", None),
        ("jsonl:a", "jsonl:a", None),
    ],
)
def test_a_url_from_the_environment_or_a_file(tmp_path: Path, url: str, rest: str, login: Login | None) -> None:
    path = tmp_path / "target"
    path.write_text(f"{url}\n")
    for given in ("env:NAME", f"file:{path}"):
        found = resolve_target(given, {"NAME": url})

        assert (given, rest, login, True) == (found.given, found.url, found.login, found.is_secret)
        assert "p@" not in repr(found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("env:NONE", "--to: env:NONE: the environment variable 'NONE' is not set"),
        ("env:WORDS", "--to: env:WORDS: holds more than one word: wanted is a URL"),
        ("env:ODD", "--to: env:ODD: a / ? # or @ in a user or a password is written as %2F %3F %23 or %40"),
        ("env:BARE", "--to: 'env:BARE' holds no target: allowed is "),
        ("env:FOLDER", "--to: env:FOLDER: parquet takes no user and no password in a URL"),
        ("env:OPTION", "--to: env:OPTION: qos is '7', allowed is 0 or 1 or 2"),
        ("env:PORT", "--to: env:PORT: 'env:PORT' has no valid port"),
        ("file:missing", "--to: file:missing: No such file or directory"),
        ("file:empty", "--to: file:empty: the file is empty: wanted is a URL"),
        ("file:binary", "--to: file:binary: is no text in UTF-8"),
    ],
)
def test_what_is_wrong_with_it_is_said_without_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    Path("binary").write_bytes(b"\xff\xfe")
    environment = {
        "WORDS": "s3cret word",
        "ODD": "mqtt://u:s3cret/x@h/t",
        "BARE": "s3cret",
        "FOLDER": "parquet://u:s3cret@h",
        "OPTION": "mqtt://u:s3cret@h/t?qos=7",
        "PORT": "mqtt://u:s3cret@h:port/t?key=s3cret",
    }
    with pytest.raises(UserError) as raised:
        open_target(given, TargetOptions(environment=environment))

    assert str(raised.value).startswith(message)
    assert "s3cret" not in str(raised.value)


def test_a_target_to_compare_with_may_be_secret() -> None:
    with pytest.raises(UserError, match="--against: env:X: a server that takes readings over HTTP cannot be asked"):
        read_back("env:X", ReadBackOptions(environment={"X": "http://u:s3cret@h/"}))
