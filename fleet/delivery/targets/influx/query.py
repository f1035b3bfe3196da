"""Reading back InfluxDB 1: the points of a measurement as a table, whose rows are matched with readings by sensor and time."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from typing import IO, Any
from urllib.parse import urlencode

import orjson
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from fleet.delivery.batch import Row
from fleet.delivery.columns import converted_or_same
from fleet.delivery.compare.delivered import chunked
from fleet.delivery.targets.http.client import HttpTimeouts, classify_error, create_pool, to_http_response
from fleet.delivery.targets.http.credentials import Credentials
from fleet.delivery.targets.http.response import response_reason, status_phrase
from fleet.delivery.targets.influx.address import InfluxAddress
from fleet.errors import UserError

POINTS_PER_CHUNK = 5_000
READ_BYTES = 64 * 1024
MAX_ERROR_BYTES = 64 * 1024
OK = 200

TIMEOUTS = HttpTimeouts(read=3600.0)
"""The whole answer has to arrive in this time."""

NANOSECONDS = 1_000
"""Nanoseconds in a microsecond."""


class InfluxTable:
    """The points of a measurement as they were when this was made: the answer of the server is kept in a temporary file."""

    ordered = False

    def __init__(
        self, address: InfluxAddress, credentials: Credentials, measurement: str | None, sensor: str | None
    ) -> None:
        """UserError if the server does not answer, or has no such measurement."""
        self.name = address.write.name
        measurement = measurement or address.format.measurement
        condition = f" WHERE sensor_id = {quoted(sensor, chr(39))}" if sensor is not None else ""
        query = f"SELECT * FROM {quoted(measurement, chr(34))}{condition}"
        self._answer = tempfile.TemporaryFile()  # noqa: SIM115 - open until this is closed
        try:
            download(address, credentials, query, self._answer)
            first = next(self._series(), None)
        except UserError:
            self._answer.close()
            raise
        if first is None:
            self._answer.close()
            raise UserError(f"--against: {self.name} has no points in the measurement {measurement!a}")
        self._names: list[str] = first["columns"]
        self.columns = tuple("timestamp" if name == "time" else name for name in self._names)

    def rows(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        """The points in the order of their times, those of the same microsecond in that of their `seq`."""
        indexes = [self.columns.index(name) for name in columns]
        yield from chunked(self._rows(columns, indexes))

    def close(self) -> None:
        self._answer.close()

    def _rows(self, columns: Sequence[str], indexes: Sequence[int]) -> Iterator[Row]:
        seq = self.columns.index("seq") if "seq" in self.columns else 0
        for _, points in groupby(self._points(), itemgetter(0)):
            for point in sorted(points, key=lambda point: point[seq] or 0):
                values = zip(columns, (point[index] for index in indexes), strict=True)
                yield tuple(converted_or_same(name, value) for name, value in values)

    def _points(self) -> Iterator[list[Any]]:
        """The points with their times, which come first, in microseconds."""
        for series in self._series():
            for point in series["values"]:
                point[0] //= NANOSECONDS
                yield point

    def _series(self) -> Iterator[dict[str, Any]]:
        """The parts of the answer, each a line. UserError if the server reports an error in one."""
        self._answer.seek(0)
        with gzip.open(self._answer, "rb") as lines:
            try:
                for line in lines:
                    document = orjson.loads(line)
                    for result in document.get("results", [document]):
                        if "error" in result:
                            raise UserError(f"--against: {self.name}: {result['error']}")
                        yield from result.get("series", ())
            except (OSError, EOFError, ValueError) as error:
                raise UserError(f"--against: {self.name}: its answer cannot be read: {error}") from error


def download(address: InfluxAddress, credentials: Credentials, query: str, file: IO[bytes]) -> None:
    """Write the answer to a query into a file, compressed. UserError if there is none."""
    parameters = {"q": query, "epoch": "ns", "chunked": "true", "chunk_size": str(POINTS_PER_CHUNK)}
    if address.database:
        parameters["db"] = address.database
    headers = {**credentials.headers, "Accept": "application/json", "Accept-Encoding": "gzip"}
    path = f"/query?{urlencode(parameters)}"
    with closing(create_pool(address.write, TIMEOUTS, 1)) as pool:
        try:
            response = pool.urlopen("GET", path, headers=headers, retries=False, redirect=False, preload_content=False)
            if response.status != OK:
                answer = to_http_response(response, response.read(MAX_ERROR_BYTES, decode_content=True))
                reason = response_reason(answer, credentials.redact) or status_phrase(response.status)
                raise UserError(f"--against: {address.write.name} answered {response.status}: {reason}")
            if response.headers.get("content-encoding") == "gzip":
                copy_parts(response, file)
            else:
                with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as compressing:
                    copy_parts(response, compressing)
        except HTTPError as error:
            raise UserError(f"--against: {address.write.name}: {classify_error(error, TIMEOUTS)}") from error


def copy_parts(response: BaseHTTPResponse, file: IO[bytes] | gzip.GzipFile) -> None:
    for part in response.stream(READ_BYTES, decode_content=False):
        file.write(part)


def quoted(text: str, mark: str) -> str:
    r"""Return a name or a text of InfluxQL between quotation marks.

    >>> quoted("it's", "'")
    "'it\\'s'"
    """
    return f"{mark}{text.replace(chr(92), chr(92) * 2).replace(mark, chr(92) + mark)}{mark}"
