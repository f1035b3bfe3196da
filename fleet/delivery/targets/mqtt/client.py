"""The MQTT client of paho, for one connection whose socket an event loop of ours watches."""

from __future__ import annotations

import errno
import resource
import secrets
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from fleet.delivery.target import DeliveryFailed, TargetMisconfigured
from fleet.delivery.targets.mqtt.address import BrokerAddress
from fleet.delivery.targets.retry import RetryableFailure
from fleet.errors import UserError

try:
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode
except ImportError as error:
    raise UserError(f"MQTT needs an extra: pip install 'sensor-fleet[mqtt]' ({error})") from error

USERNAME_VARIABLE, PASSWORD_VARIABLE = "MQTT_USERNAME", "MQTT_PASSWORD"
FILE_VARIABLES = {"ca": "MQTT_CA_FILE", "cert": "MQTT_CERT_FILE", "key": "MQTT_KEY_FILE"}

CONNECT_SECONDS = 10.0
SESSION_SECONDS = 3600
"""Seconds for which a broker keeps a persistent session without a connection."""

RECEIVE_BYTES = 65_536
SUCCESS = ReasonCode(PacketTypes.PUBACK)
NO_PROPERTIES = Properties(PacketTypes.PUBACK)  # type: ignore[no-untyped-call]

FAILURE_CODES = 0x80
"""The reasons from this one on are failures."""

PASSING_REASONS = frozenset(
    ("Server unavailable", "Server busy", "Use another server", "Connection rate exceeded", "Quota exceeded")
)
"""Reasons of a broker that may pass; for others an operator has to act."""

HINTS = {
    "Bad user name or password": f"check {USERNAME_VARIABLE} and {PASSWORD_VARIABLE}",
    "Not authorized": f"check {USERNAME_VARIABLE} and {PASSWORD_VARIABLE}",
    "Unsupported protocol version": "try ?version=3.1.1",
    "Client identifier not valid": "name another with ?client_id=",
    "Session taken over": "another client has the same client id: name another with ?client_id=",
}


class Client(paho.Client):
    """A client whose packets are written only when the loop asks for it.

    It overrides four private methods of paho, whose version is pinned for that: one overlooks refusals, one leaves sockets open, and
    two take half of the time of an acknowledgement.
    """

    def __init__(self, address: BrokerAddress, client_id: str) -> None:
        self._received = b""
        version = paho.MQTTv5 if address.options.version == "5" else paho.MQTTv311
        name = client_id or f"fleet-{secrets.token_hex(8)}"
        super().__init__(CallbackAPIVersion.VERSION2, name, protocol=version, reconnect_on_failure=False)
        self.max_inflight_messages_set(0)
        # With this callback paho leaves writing to the loop.
        self.on_socket_register_write = lambda *_: None
        self.connect_timeout = CONNECT_SECONDS
        self.connect_async(
            address.host,
            address.port,
            address.options.keep_alive,
            # The first connection of this process begins a new session.
            clean_start=paho.MQTT_CLEAN_START_FIRST_ONLY if address.options.persistent else True,
            properties=session_properties(address),
        )

    @property
    def has_received(self) -> bool:
        """Whether there are bytes that have left the socket and are not yet read."""
        opened = self.socket()
        return bool(self._received) or (isinstance(opened, ssl.SSLSocket) and opened.pending() > 0)

    def reconnect(self) -> MQTTErrorCode:
        self._received = b""
        return super().reconnect()

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        """Begin TLS. The context checks the name of the host."""
        assert self._ssl_context is not None
        opened = self._ssl_context.wrap_socket(tcp_sock, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            opened.settimeout(CONNECT_SECONDS)
            opened.do_handshake()
        except OSError:
            opened.close()
            raise
        return opened

    def _sock_recv(self, bufsize: int) -> bytes:
        """Read from the socket in large pieces: paho asks for a byte, another one, and the rest of a packet."""
        received = self._received or super()._sock_recv(RECEIVE_BYTES)
        self._received = received[bufsize:]
        return received[:bufsize]

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        """Take an answer that is no failure without making objects for its reason and its properties."""
        packet = self._in_packet["packet"]
        if len(packet) > 2 and packet[2] >= FAILURE_CODES:
            return super()._handle_pubackcomp(cmd)
        with self._out_message_mutex:
            number = int.from_bytes(packet[:2], "big")
            if number in self._out_messages:
                return self._do_on_publish(number, SUCCESS, NO_PROPERTIES)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle_pubrec(self) -> MQTTErrorCode:
        """Take a refusal as the answer, which paho 2.2 overlooks: it would go on as if the message had been accepted."""
        packet = self._in_packet["packet"]
        number = int.from_bytes(packet[:2], "big")
        if len(packet) > 2 and packet[2] >= FAILURE_CODES and number in self._out_messages:
            with self._out_message_mutex:
                reason = ReasonCode(PacketTypes.PUBREC, identifier=packet[2])
                properties = Properties(PacketTypes.PUBREC)  # type: ignore[no-untyped-call]
                return self._do_on_publish(number, reason, properties)
        return super()._handle_pubrec()


def session_properties(address: BrokerAddress) -> Properties | None:
    """Return the properties of a connection that asks the broker to keep its session, None for any other."""
    if not address.options.persistent:
        return None
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_SECONDS
    return properties


def reading_properties(key: str, seq: int | None) -> Properties:
    """Return the key and the sequence number of a reading as user properties."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [("key", key), ("seq", str(seq))]
    return properties


def tls_context(address: BrokerAddress, environment: Mapping[str, str]) -> ssl.SSLContext | None:
    """Return the context of TLS, None without TLS. UserError if a file of it cannot be used."""
    if not address.tls:
        return None
    options = address.options
    files = {
        name: str(path) if path is not None else environment.get(FILE_VARIABLES[name]) or None
        for name, path in (("ca", options.ca), ("cert", options.cert), ("key", options.key))
    }
    if files["key"] and not files["cert"]:
        raise UserError("--to: key is given without cert, the certificate that it belongs to")
    for name, path in files.items():
        if path is not None:
            check_readable(name, path)
    try:
        context = ssl.create_default_context()
        if files["ca"]:
            context.load_verify_locations(files["ca"])
    except ssl.SSLError:
        raise UserError(f"--to: ca is {files['ca']}, which holds no certificates: allowed is a file in PEM") from None
    if files["cert"]:
        try:
            context.load_cert_chain(files["cert"], files["key"], password="")
        except ssl.SSLError:
            raise UserError(
                f"--to: cert is {files['cert']} and key {files['key'] or 'in it'}: allowed are a certificate in PEM and its "
                "private key without a passphrase"
            ) from None
    return context


def check_readable(name: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise UserError(
            f"--to: {name} is {path}: {error.strerror} (the option {name}, or {FILE_VARIABLES[name]})"
        ) from None


# Errors


def connection_failure(address: BrokerAddress, error: OSError) -> DeliveryFailed:
    """Return the failure for an error while a connection was made."""
    place = f"{address.host}:{address.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        other_name = "ostname mismatch" in error.verify_message or "IP address mismatch" in error.verify_message
        hint = "use the host's name in it" if other_name else "name the authority with ?ca=FILE or MQTT_CA_FILE"
        return TargetMisconfigured(f"its certificate is not trusted: {error.verify_message}: {hint}")
    if isinstance(error, ssl.SSLError):
        return TargetMisconfigured(f"no TLS with {place}: {error.reason or error}: check the port, or use mqtt://")
    if error.errno == errno.EMFILE:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return TargetMisconfigured(
            f"no more connections: a process may have {limit:,} files open here: raise it with `ulimit -n`, to more than the "
            "number of sensors"
        )
    if isinstance(error, socket.gaierror):
        return RetryableFailure(f"no connection: no address for the host {address.host}: {error.strerror}")
    return RetryableFailure(f"no connection to {place}: {error.strerror or error}: check host and port, and the broker")


def refused_connection(reason: str) -> DeliveryFailed:
    """Return the failure for a connection that the broker has refused."""
    if reason in PASSING_REASONS:
        return RetryableFailure(f"no connection: {reason}")
    hint = HINTS.get(reason)
    return TargetMisconfigured(f"the broker refuses the connection: {reason}{f': {hint}' if hint else ''}")


def refused_message(topic: str, reason: str) -> TargetMisconfigured:
    """Return the failure for a message that the broker has refused; those of Sparkplug have no `topic` of their own."""
    hint = ": the user needs a permission to write there" if reason == "Not authorized" else ""
    return TargetMisconfigured(f"the broker refuses what is published: {reason}: topic {topic or 'spBv1.0/#'}{hint}")


def lost_connection(address: BrokerAddress, reason: str, *, accepted: bool) -> DeliveryFailed:
    """Return the failure for a connection that has ended, before the broker `accepted` it or later."""
    if accepted:
        hint = HINTS.get(reason)
        return RetryableFailure(f"the connection was closed: {reason}{f': {hint}' if hint else ''}")
    hint = (
        "it may want a certificate of the client: set MQTT_CERT_FILE"
        if address.tls
        else "if it speaks TLS, use mqtts://"
    )
    return RetryableFailure(
        f"{address.host}:{address.port} closed the connection without an answer: is it a broker? {hint}"
    )


def raise_file_limit() -> None:
    """Let this process open as many files as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
