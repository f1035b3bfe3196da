"""What every client of Kafka needs: its settings from the environment, and the meaning of errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fleet.delivery.targets.kafka.address import TopicAddress
from fleet.errors import UserError
from fleet.escaping import escape_short

try:
    from confluent_kafka import KafkaError
except ImportError as error:
    raise UserError(f"Kafka needs an extra: pip install 'sensor-fleet[kafka]' ({error})") from error

USERNAME_VARIABLE, PASSWORD_VARIABLE = "KAFKA_USERNAME", "KAFKA_PASSWORD"
PROTOCOL_VARIABLE, MECHANISM_VARIABLE = "KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM"
AUTHORITIES_VARIABLE = "SSL_CERT_FILE"
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

SYSTEM_AUTHORITIES = "probe"
"""The library's word for the certificate authorities of the system."""

Settings = dict[str, str | int | bool]

CHECK_CREDENTIALS = f"check {USERNAME_VARIABLE}, {PASSWORD_VARIABLE} and {MECHANISM_VARIABLE}"
CHECK_PROTOCOL = f"check {PROTOCOL_VARIABLE}, and {AUTHORITIES_VARIABLE} for an authority of your own"
CHECK_TOPIC = "create the topic, or have the broker create topics"
CHECK_PERMISSION = "give the user the permission"

ADVICE = {
    KafkaError._AUTHENTICATION: CHECK_CREDENTIALS,
    KafkaError.SASL_AUTHENTICATION_FAILED: CHECK_CREDENTIALS,
    KafkaError.UNSUPPORTED_SASL_MECHANISM: CHECK_CREDENTIALS,
    KafkaError.ILLEGAL_SASL_STATE: CHECK_CREDENTIALS,
    KafkaError._SSL: CHECK_PROTOCOL,
    KafkaError._UNKNOWN_TOPIC: CHECK_TOPIC,
    KafkaError.UNKNOWN_TOPIC_OR_PART: CHECK_TOPIC,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: CHECK_PERMISSION,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: CHECK_PERMISSION,
    KafkaError.TOPIC_EXCEPTION: "take another topic",
    KafkaError.INVALID_REQUIRED_ACKS: "take another acks",
    KafkaError.POLICY_VIOLATION: "ask who operates the broker",
    KafkaError.UNSUPPORTED_VERSION: "the broker is too old for idempotent producers: take acks=1",
    KafkaError._UNSUPPORTED_FEATURE: "the broker is too old for idempotent producers: take acks=1",
}
"""The errors that do not pass until an operator acts, and what to do."""

BAD_CONTENT = frozenset((KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD))
"""The errors of a broker that does not take the content of a message."""

NOISE = re.compile(r"^(?:[a-z_]+://)?\S+/(?:bootstrap|\d+): | \(after \d+ms in state \w+[^)]*\)")


def client_settings(address: TopicAddress, environment: Mapping[str, str]) -> Settings:
    """Return the settings of a client's connections. UserError if a variable has a value that is not allowed."""
    username = environment.get(USERNAME_VARIABLE, "")
    # A password is not sent in plain text unless that is asked for.
    protocol = chosen(environment, PROTOCOL_VARIABLE, PROTOCOLS, "SASL_SSL" if username else "PLAINTEXT")
    settings: Settings = {
        "bootstrap.servers": ",".join(address.servers),
        "security.protocol": protocol.lower(),
        "client.id": "fleet",
        "log_level": 0,  # errors arrive through the callback; the log would go to standard error
        "reconnect.backoff.max.ms": 1_000,
    }
    if protocol.endswith("SSL"):
        authorities = environment.get(AUTHORITIES_VARIABLE) or SYSTEM_AUTHORITIES
        if authorities != SYSTEM_AUTHORITIES and not Path(authorities).is_file():
            raise UserError(f"{AUTHORITIES_VARIABLE}: {escape_short(authorities)!r} is no file with certificates")
        settings["ssl.ca.location"] = authorities
    if protocol.startswith("SASL"):
        if not username:
            raise UserError(
                f"{PROTOCOL_VARIABLE}: is {protocol}, which needs {USERNAME_VARIABLE} and {PASSWORD_VARIABLE}"
            )
        settings["sasl.mechanism"] = chosen(environment, MECHANISM_VARIABLE, MECHANISMS, MECHANISMS[0])
        settings |= {"sasl.username": username, "sasl.password": environment.get(PASSWORD_VARIABLE, "")}
    elif username:
        raise UserError(
            f"{PROTOCOL_VARIABLE}: is {protocol}, which presents no {USERNAME_VARIABLE}: take SASL_{protocol}"
        )
    return settings


def chosen(environment: Mapping[str, str], variable: str, allowed: tuple[str, ...], default: str) -> str:
    value = environment.get(variable) or default
    if value not in allowed:
        raise UserError(f"{variable}: is {value!a}, allowed is {' or '.join(allowed)}")
    return value


def describe_error(error: KafkaError) -> str:
    """Say what is wrong and what to do, in one line."""
    if error.code() == KafkaError._ALL_BROKERS_DOWN:
        return f"every server closes the connection: {CHECK_PROTOCOL}"
    text = NOISE.sub("", error.str())
    advice = ADVICE.get(error.code())
    return f"{text}: {advice}" if advice else text
