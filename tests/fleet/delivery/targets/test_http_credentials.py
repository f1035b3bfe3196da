"""Credentials from environment variables."""

from __future__ import annotations

import pytest

from fleet.delivery.targets.http.credentials import read_credentials
from fleet.errors import UserError


def test_a_token_is_shown_as_a_bearers() -> None:
    assert {"Authorization": "Bearer abc/+="} == read_credentials({"COLLECT_TOKEN": " abc/+=\n"}).headers


def test_headers_are_lines() -> None:
    lines = "X-Key: a: b \r\n\n  X-Tenant:north\n"

    assert {"X-Key": "a: b", "X-Tenant": "north"} == read_credentials({"COLLECT_HEADERS": lines}).headers


@pytest.mark.parametrize("environment", [{}, {"COLLECT_TOKEN": "", "COLLECT_HEADERS": " \n"}])
def test_there_may_be_none(environment: dict[str, str]) -> None:
    assert {} == read_credentials(environment).headers


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"COLLECT_TOKEN": "Bearer hush"}, "COLLECT_TOKEN: wanted the token alone"),
        ({"COLLECT_TOKEN": "hush\r\nX: y"}, "COLLECT_TOKEN: wanted the token alone"),
        ({"COLLECT_TOKEN": "hush€"}, "COLLECT_TOKEN: wanted the token alone"),
        ({"COLLECT_HEADERS": "A: b\nhush"}, "COLLECT_HEADERS, line 2: wanted `Name: value`"),
        ({"COLLECT_HEADERS": "hush hush: b"}, "COLLECT_HEADERS, line 1: wanted `Name: value`"),
        ({"COLLECT_HEADERS": "A: hush\x00"}, "COLLECT_HEADERS, line 1: wanted `Name: value`"),
        ({"COLLECT_HEADERS": "A: hush\rB: c"}, "COLLECT_HEADERS, line 1: wanted `Name: value`"),
        ({"COLLECT_HEADERS": "A: hush€"}, "COLLECT_HEADERS, line 1: wanted `Name: value`"),
        ({"COLLECT_HEADERS": "A:"}, "COLLECT_HEADERS, line 1: wanted `Name: value`"),
        ({"COLLECT_HEADERS": "idempotency-key: hush"}, "line 1: idempotency-key is set by the collector"),
        ({"COLLECT_HEADERS": "A: b\na: hush"}, "COLLECT_HEADERS, line 2: this header is given twice"),
        ({"COLLECT_TOKEN": "hush", "COLLECT_HEADERS": "authorization: hush"}, "line 1: this header is given twice"),
    ],
)
def test_what_is_no_header_is_refused_without_telling_it(environment: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as raised:
        read_credentials(environment)

    assert message in str(raised.value)
    assert "hush" not in str(raised.value)


def test_secrets_are_seen_nowhere() -> None:
    shown = read_credentials({"COLLECT_TOKEN": "hush/hush", "COLLECT_HEADERS": "X-Key: a secret\nX-Tenant: 7"})

    assert "hush" not in repr(shown)
    assert "*** and ***, ***; 7" == shown.redact(r"hush/hush and hush\/hush, a secret; 7")
