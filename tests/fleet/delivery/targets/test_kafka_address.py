"""The URL of a topic of Kafka, the settings of its clients, and the words for errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from fleet.delivery.targets.kafka.address import parse_address
from fleet.delivery.targets.kafka.client import PASSWORD_VARIABLE, USERNAME_VARIABLE, client_settings, describe_error
from fleet.errors import UserError
from fleet.target_urls import Login, login_variables


def test_what_is_left_out_has_a_default() -> None:
    address = parse_address("kafka://broker")
    assert (("broker:9092",), "fleet", "all", "none") == (
        address.servers,
        address.topic,
        address.acks,
        address.compression,
    )
    other = parse_address("kafka://one:9093,[::1],three:1/plant.a_b-1?acks=1&compression=zstd")
    assert ("one:9093", "[::1]:9092", "three:1") == other.servers
    assert ("plant.a_b-1", "1", "zstd") == (other.topic, other.acks, other.compression)
    assert "kafka://one:9093,[::1]:9092,three:1/plant.a_b-1" == other.name
    assert "plant.a_b-1.epochs" == other.history_topic("epochs")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("kafka://user:secret@broker/x", "set KAFKA_USERNAME and KAFKA_PASSWORD"),
        ("kafka:///x", "names no server"),
        ("kafka://broker:port/x", "names no server, or one without a valid port"),
        ("kafka://broker:99999/x", "has no valid port"),
        ("kafka://one,,two/x", "names no server"),
        ("kafka://broker/x?acks=2", "acks is '2', allowed is all or 1 or 0"),
        ("kafka://broker/x?partitions=3", "'partitions' is no option of Kafka: allowed are acks and compression"),
        ("kafka://broker/a/b", "'a/b' is no topic of Kafka"),
        ("kafka://broker/%C3%A4", "is no topic of Kafka"),
        ("kafka://broker/..", "'..' is no topic of Kafka"),
        (f"kafka://broker/{'a' * 231}", "is no topic of Kafka"),
    ],
)
def test_what_cannot_be_published_to(url: str, reason: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_address(url)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def settings(**variables: str) -> dict[str, str | int | bool]:
    return client_settings(parse_address("kafka://broker"), {f"KAFKA_{name}": each for name, each in variables.items()})


def test_a_password_is_sent_in_plain_text_only_if_asked_for() -> None:
    assert "plaintext" == settings()["security.protocol"]
    assert ("sasl_ssl", "PLAIN") == (
        settings(USERNAME="me", PASSWORD="secret")["security.protocol"],
        settings(USERNAME="me")["sasl.mechanism"],
    )
    plain = settings(USERNAME="me", SECURITY_PROTOCOL="SASL_PLAINTEXT", SASL_MECHANISM="SCRAM-SHA-512")
    assert ("sasl_plaintext", "SCRAM-SHA-512") == (plain["security.protocol"], plain["sasl.mechanism"])


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL: is 'TLS', allowed is PLAINTEXT or SSL or"),
        ({"SECURITY_PROTOCOL": "SASL_SSL"}, "which needs KAFKA_USERNAME and KAFKA_PASSWORD"),
        ({"SECURITY_PROTOCOL": "SSL", "USERNAME": "me"}, "presents no KAFKA_USERNAME: take SASL_SSL"),
        ({"SASL_MECHANISM": "GSSAPI", "USERNAME": "me"}, "KAFKA_SASL_MECHANISM: is 'GSSAPI', allowed is PLAIN or"),
    ],
)
def test_what_a_variable_cannot_be(variables: dict[str, str], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        settings(**variables)


def test_authorities_that_are_no_file(tmp_path: Path) -> None:
    environment = {"KAFKA_SECURITY_PROTOCOL": "SSL", "SSL_CERT_FILE": str(tmp_path / "missing.pem")}
    with pytest.raises(UserError, match=r"SSL_CERT_FILE: .* is no file with certificates"):
        client_settings(parse_address("kafka://broker"), environment)


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (
            KafkaError._TRANSPORT,
            "ssl://b:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)",
            "Connect to ipv4#127.0.0.1:9092 failed: Connection refused",
        ),
        (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            "Broker: Topic authorization failed",
            "Broker: Topic authorization failed: give the user the permission",
        ),
        (
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            "Broker: Unknown topic or partition",
            "Broker: Unknown topic or partition: create the topic, or have the broker create topics",
        ),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(code: int, text: str, expected: str) -> None:
    assert expected == describe_error(KafkaError(code, text))


def test_a_user_in_the_url() -> None:
    """In place of that of the environment."""
    login = Login("plant", "s3cret")
    variables = login_variables(
        {"KAFKA_USERNAME": "other", "KAFKA_PASSWORD": "x", "HOME": "/"}, login, USERNAME_VARIABLE, PASSWORD_VARIABLE
    )
    settings = client_settings(parse_address("kafka://broker/x"), variables)

    assert ("plant", "s3cret", "sasl_ssl") == (
        settings["sasl.username"],
        settings["sasl.password"],
        settings["security.protocol"],
    )
    assert {"HOME": "/"} == login_variables({"HOME": "/"}, None, USERNAME_VARIABLE, PASSWORD_VARIABLE)
