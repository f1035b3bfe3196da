"""Parquet: texts are plain strings for every reader, and dictionaries on disk."""

from __future__ import annotations

from typing import IO

from fleet.history.arrow_tables import file_batch, file_schema
from fleet.history.formats.file_format import GroupWriter, TimeFormat
from fleet.history.table import ReadingSchema, ReadingTable

# Last: `arrow_tables` reports a missing extra.
import pyarrow as pa  # isort: skip
from pyarrow import parquet  # isort: skip

SUFFIX = ".parquet"
DEFAULT_TIMES: TimeFormat = "timestamp"
MEDIA_TYPE = "application/vnd.apache.parquet"


class Writer(GroupWriter):
    """Writes groups of rows."""

    rows_per_group = 1 << 17

    def __init__(self, file: IO[bytes], schema: ReadingSchema, times: TimeFormat) -> None:
        super().__init__(file, schema, times)
        self._schema = file_schema(schema, times)
        whole = [
            field.name for field in self._schema if pa.types.is_int64(field.type) or pa.types.is_timestamp(field.type)
        ]
        rising = [name for name in whole if name in ("timestamp", "seq")]
        self._writer = parquet.ParquetWriter(
            file,
            self._schema,
            compression="snappy",
            use_dictionary=[name for name in schema if name not in rising],
            column_encoding=dict.fromkeys(rising, "DELTA_BINARY_PACKED"),
            store_schema=False,  # otherwise readers make categories of texts
        )

    def write_group(self, table: ReadingTable) -> None:
        self._writer.write_batch(file_batch(table, self.schema, self.times), self.rows_per_group)

    def close(self) -> None:
        self._writer.close()
