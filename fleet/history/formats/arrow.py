"""The file format of Arrow, also called Feather version 2; its buffers are compressed."""

from __future__ import annotations

from typing import IO

from fleet.history.arrow_tables import file_batch, file_schema
from fleet.history.formats.file_format import GroupWriter, TimeFormat
from fleet.history.table import ReadingSchema, ReadingTable

# Last: `arrow_tables` reports a missing extra.
import pyarrow as pa  # isort: skip

SUFFIX = ".arrow"
DEFAULT_TIMES: TimeFormat = "timestamp"
MEDIA_TYPE = "application/vnd.apache.arrow.file"


class Writer(GroupWriter):
    """Writes batches of rows. Texts are plain, as not every reader knows the dictionaries of several batches."""

    rows_per_group = 1 << 16

    def __init__(self, file: IO[bytes], schema: ReadingSchema, times: TimeFormat) -> None:
        super().__init__(file, schema, times)
        plain = [
            field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field
            for field in file_schema(schema, times)
        ]
        self._schema = pa.schema(plain)
        self._writer = pa.ipc.new_file(file, self._schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))

    def write_group(self, table: ReadingTable) -> None:
        batch = file_batch(table, self.schema, self.times)
        arrays = [array.cast(field.type) for array, field in zip(batch.columns, self._schema, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()
