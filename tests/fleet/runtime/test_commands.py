"""The messages about invalid commands, which the dashboard shows as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from fleet.runtime.commands import COMMAND_ADAPTER, describe_invalid_command


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ({"command": "scale", "count": 0}, "scale.count: 0 is not between 1 and 100000"),
        ({"command": "scale", "count": 2.5}, "scale.count: 2.5 is not a whole number"),
        ({"command": "scale"}, "scale.count: is missing"),
        ({"command": "scale", "count": 9, "path": "/"}, "scale.path: unknown key; allowed are count"),
        (
            {"command": "inject", "type": "x"},
            'inject.type: "x" is not one of spike, trend, pattern, missing_data, noise',
        ),
        ({"command": "inject", "type": "spike", "id": " "}, 'inject.id: " " is not 1 to 64 letters, digits, dots'),
        ({"command": "pause", "sensors": ["a"] * 1001}, "pause.sensors: has 1,001 entries; allowed are at most 1,000"),
        ({"command": "pause", "city": ""}, 'pause.city: "" is not text of 1 to 200 characters'),
        ({"command": "pause", "share": 2}, "pause.share: 2 is not above 0 and at most 1"),
        ({"command": "rollout", "firmware": "2", "step": 0.1}, "rollout: step and every belong together"),
        ({"command": "x"}, "command: allowed is an object whose `command` is one of cancel, down, inject"),
        ([], "command: allowed is an object whose `command` is one of"),
    ],
)
def test_a_mistake_is_named_in_plain_words(command: Any, message: str) -> None:
    """Its place, the value, and what is allowed."""
    with pytest.raises(ValidationError) as error:
        COMMAND_ADAPTER.validate_json(json.dumps(command))

    assert describe_invalid_command(error.value).startswith(message)
