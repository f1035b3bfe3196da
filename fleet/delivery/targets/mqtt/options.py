"""The options in the URL of a broker, behind the `?`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.durations import parse_duration
from fleet.errors import UserError

CHOICES = {
    "qos": ("1", "0", "2"),
    "retain": ("0", "1"),
    "version": ("5", "3.1.1"),
    "connections": ("one", "sensor"),
    "session": ("clean", "persistent"),
    "properties": ("0", "1"),
    "payload": ("json", "sparkplug"),
}
"""The values of an option, the default first."""

NUMBERS = {"keepalive": (60, 65_535, "whole seconds"), "connect_rate": (200, 100_000, "whole numbers")}
"""The default and the largest value of an option, and its unit; the smallest is 1."""

TEXTS = ("client_id", "status", "node", "storm", "ca", "cert", "key")
NAMES = (*CHOICES, *NUMBERS, *TEXTS)

EVERY_SENSOR, DEFAULT_NODE = "{sensor_id}", "fleet"
NOT_IN_A_NODE = re.compile("[/+#\0{}]")

NEEDS_VERSION_5 = {"session": "persistent", "properties": "1"}
NOT_WITH_SPARKPLUG = {"retain": "1", "session": "persistent", "properties": "1"}


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """The options. `client_id` and `status` are templates that may name {sensor_id} if each sensor has a connection of its own.
    `storm_seconds` is 0 for no storms, and a file is None if its option is missing."""

    qos: int
    retain: bool
    version: str
    keep_alive: int
    per_sensor: bool
    client_id: str
    connect_rate: int
    persistent: bool
    status: str
    storm_seconds: float
    properties: bool
    sparkplug: bool
    node: str
    ca: Path | None
    cert: Path | None
    key: Path | None


def parse_options(given: Mapping[str, str], *, tls: bool) -> BrokerOptions:
    """UserError for an option that does not exist, has no such value, or does not go with another."""
    for name, value in given.items():
        if name not in NAMES:
            raise UserError(f"--to: {name!a} is no option of a broker: allowed are {', '.join(NAMES)}")
        if name in CHOICES and value not in CHOICES[name]:
            raise UserError(f"--to: {name} is {value!a}, allowed is {' or '.join(sorted(CHOICES[name]))}")
        if name in TEXTS and not value:
            raise UserError(f"--to: {name} is empty")
    choices = {name: given.get(name, values[0]) for name, values in CHOICES.items()}
    per_sensor, sparkplug = choices["connections"] == "sensor", choices["payload"] == "sparkplug"
    check_combinations(given, choices, tls=tls, sparkplug=sparkplug)
    return BrokerOptions(
        int(choices["qos"]),
        choices["retain"] == "1",
        choices["version"],
        parse_number("keepalive", given),
        per_sensor,
        parse_client_id(given.get("client_id"), per_sensor=per_sensor),
        parse_number("connect_rate", given),
        choices["session"] == "persistent",
        given.get("status", ""),
        parse_duration(given["storm"], "--to: storm") if "storm" in given else 0.0,
        choices["properties"] == "1",
        sparkplug,
        parse_node(given.get("node", DEFAULT_NODE)),
        *(Path(given[name]) if name in given else None for name in ("ca", "cert", "key")),
    )


def check_combinations(given: Mapping[str, str], choices: Mapping[str, str], *, tls: bool, sparkplug: bool) -> None:
    for name, value in NEEDS_VERSION_5.items():
        if choices[name] == value and choices["version"] != "5":
            raise UserError(f"--to: {name}={value} needs version=5 of the protocol")
    if sparkplug:
        for name, value in NOT_WITH_SPARKPLUG.items():
            if choices[name] == value:
                raise UserError(
                    f"--to: {name}={value} does not go with payload=sparkplug, whose specification excludes it"
                )
        if "status" in given:
            raise UserError("--to: status does not go with payload=sparkplug: its births and deaths tell the state")
    if "node" in given and (not sparkplug or choices["connections"] == "sensor"):
        raise UserError("--to: node is the edge node of payload=sparkplug with connections=one")
    for name in ("ca", "cert", "key"):
        if name in given and not tls:
            raise UserError(f"--to: {name} is a file for TLS: mqtts://HOST")


def parse_number(name: str, given: Mapping[str, str]) -> int:
    default, largest, unit = NUMBERS[name]
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= largest):
        raise UserError(f"--to: {name} is {text!a}, allowed are {unit} from 1 to {largest}")
    return int(text)


def parse_client_id(template: str | None, *, per_sensor: bool) -> str:
    if template is None:
        return EVERY_SENSOR if per_sensor else ""
    if per_sensor != (EVERY_SENSOR in template) or "{" in template.replace(EVERY_SENSOR, ""):
        allowed = f"a text with {EVERY_SENSOR} in it" if per_sensor else "a text without braces, or connections=sensor"
        raise UserError(f"--to: client_id is {template!a}, allowed is {allowed}")
    return template


def parse_node(node: str) -> str:
    if NOT_IN_A_NODE.search(node):
        raise UserError(f"--to: node is {node!a}, allowed is one level of a topic")
    return node
