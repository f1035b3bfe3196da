"""The record `nested`: the columns of a row, those of the sensor's identity in objects."""

from __future__ import annotations

from fleet.delivery.batch import Batch, Value
from fleet.delivery.records.record import ROW, Document, as_object
from worker.storage.schema import IDENTITY_COLUMNS

PLACE_COLUMNS = {
    "location": "name",
    "latitude": "latitude",
    "longitude": "longitude",
    "original_timezone": "timezone",
    "height_meters": "height_meters",
    "orientation_degrees": "orientation_degrees",
}
SENSOR_COLUMNS = {
    **{name: name for name in IDENTITY_COLUMNS if name not in PLACE_COLUMNS},
    "sensor_id": "id",
    "sensor_type": "type",
}
OBJECTS = {"sensor": SENSOR_COLUMNS, "location": PLACE_COLUMNS}
"""The objects, each with its columns and their names in it. Other columns are fields of the record itself."""


class NestedRecord:
    """A row whose columns of OBJECTS are in objects."""

    name, columns = "nested", None

    def documents(self, batch: Batch) -> list[Document]:
        return [nest(document) for document in ROW.documents(batch)]

    def unfit(self, batch: Batch) -> dict[int, str]:
        """None of them: it has all columns."""
        return {}

    def reading(self, document: Document) -> Document:
        row = {name: value for name, value in document.items() if name not in OBJECTS}
        for name, columns in OBJECTS.items():
            found = as_object(document.get(name))
            if found is not None:
                row |= {column: found[inner] for column, inner in columns.items() if inner in found}
        return row

    def read_back(self, column: str, value: Value) -> Value:
        """The value itself."""
        return value


def nest(row: Document) -> Document:
    objects = {
        name: {inner: row[column] for column, inner in columns.items() if column in row}
        for name, columns in OBJECTS.items()
    }
    others = {name: value for name, value in row.items() if name not in IDENTITY_COLUMNS}
    return others | objects
