"""The content of a file with a batch of readings: a table of Parquet with the fields of the records as columns."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import orjson

from fleet.delivery.json_documents import dump_json
from fleet.delivery.records.record import Document
from fleet.delivery.targets.batches.batch_format import BatchMeta, PlainRecords


class ParquetTable(PlainRecords):
    """A table. A column whose values have several types is text: their JSON."""

    suffix = ".parquet"

    def __init__(self) -> None:
        """UserError if the extra is not installed."""
        from fleet.delivery.targets.parquet import files

        self._types = {field.name: field.type for field in files.READINGS_SCHEMA}
        self._write = files.write_parquet

    def content(self, lines: Sequence[bytes], meta: BatchMeta) -> bytes:
        import pyarrow as pa

        documents = [orjson.loads(line) for line in lines]
        names = dict.fromkeys(name for document in documents for name in document)
        buffer = io.BytesIO()
        self._write(pa.table({name: self._column(documents, name) for name in names}), buffer)
        return buffer.getvalue()

    def _column(self, documents: Sequence[Document], name: str) -> Any:
        import pyarrow as pa

        values = [document.get(name) for document in documents]
        for column_type in (self._types.get(name), None):
            try:
                return pa.array(values, type=column_type)
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                continue
        texts = (value if value is None or isinstance(value, str) else dump_json(value).decode() for value in values)
        return pa.array(texts, type=pa.string())


def parquet_records(content: bytes) -> list[Document]:
    """Read the records back. ValueError if it is no such file."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        records: list[Document] = parquet.read_table(io.BytesIO(content)).to_pylist()
    except pa.ArrowException as error:
        raise ValueError(" ".join(str(error).split())) from error
    return records
