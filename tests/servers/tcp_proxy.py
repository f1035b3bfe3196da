"""A TCP proxy on the loopback interface that can be cut, as a broken network is, and that can speak TLS to its clients."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path


class TcpProxy:
    """A port of its own, whose connections go to `target_port`. `certificate` is a PEM file with certificate and key."""

    def __init__(self, target_port: int, certificate: Path | None = None) -> None:
        self._target_port = target_port
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.restore()

    def restore(self) -> None:
        """Listen, on the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Refuse new connections, and close those that are open."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._lock:
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:  # ssl.SSLError is an OSError
            inside = self._context.wrap_socket(client, server_side=True) if self._context else client
            with inside, socket.create_connection(("127.0.0.1", self._target_port)) as server:
                with self._lock:
                    self._sockets |= {inside, server}
                back = threading.Thread(target=self._copy, args=(server, inside), daemon=True)
                back.start()
                self._copy(inside, server)
                back.join()
                with self._lock:
                    self._sockets -= {inside, server}

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(65_536):
                sink.sendall(chunk)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
