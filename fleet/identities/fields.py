"""The fields of an identity file and their paths in either format.

`FIELD_PATHS` holds the whole of both formats. A new field is one line there, one in `IdentityFields` and one in
`identity_document` (`fleet.identities.files`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fleet.catalogue.cities import timezones
from fleet.strict_json import is_one_line
from fleet.validation.names import DERIVED_NAME_PATTERN

SENSOR_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\z"

MAX_ATTRIBUTES = 100

JsonPath = tuple[str, ...]
DEVICE_FIELDS = ("manufacturer", "model", "firmware_version", "serial_number", "manufacture_date")
DEPLOYMENT_FIELDS = ("deployment_type", "installation_date", "height_meters", "orientation_degrees")
METADATA_FIELDS = ("instance_id", "sensor_type")
LOCATION_FIELDS = ("city", "state", "country", "timezone", "latitude", "longitude")


def nested_paths(*section: str, names: tuple[str, ...]) -> dict[JsonPath, str]:
    return {(*section, name): name for name in names}


# The path of a value in a file -> the field it gives.
FIELD_PATHS: dict[JsonPath, str] = {
    ("id",): "sensor_id",  # the flat format
    **nested_paths(
        names=("sensor_id", "type", "location", *LOCATION_FIELDS, *DEVICE_FIELDS, *DEPLOYMENT_FIELDS, *METADATA_FIELDS)
    ),
    **nested_paths("location", names=LOCATION_FIELDS),  # the nested one
    ("location", "address"): "location",
    **nested_paths("location", "coordinates", names=("latitude", "longitude")),
    **nested_paths("device_info", names=DEVICE_FIELDS),
    **nested_paths("deployment", names=DEPLOYMENT_FIELDS),
    **nested_paths("metadata", names=METADATA_FIELDS),
    ("attributes",): "attributes",
    ("metadata", "minted", "seed"): "origin_seed",
    ("metadata", "minted", "index"): "origin_index",
    ("metadata", "minted", "settings"): "origin_settings",
}
SECTION_PATHS = {path[:length] for path in FIELD_PATHS for length in range(1, len(path))}


def one_line_text(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    if not is_one_line(text):
        raise ValueError("must be one line of text without control characters")
    return text


def existing_timezone(name: str) -> str:
    if name not in timezones():
        raise ValueError("must be a time zone such as America/Denver")
    return name


def calendar_date(text: str) -> str:
    try:
        exact = date.fromisoformat(text).isoformat() == text
    except ValueError:
        exact = False
    if not exact:
        raise ValueError("must be a date such as 2025-03-24")
    return text


def derived_name(text: str) -> str:
    """Refuse an id that ends like the name of a rotated, saved or damaged database."""
    found = re.search(DERIVED_NAME_PATTERN, text, re.IGNORECASE)
    if found:
        raise ValueError(f"must not end in {found[0]}, like the name of a rotated, saved or damaged database")
    return text


OneLineText = Annotated[str, AfterValidator(one_line_text), Field(max_length=200)]
CalendarDate = Annotated[str, AfterValidator(calendar_date)]


class IdentityFields(BaseModel):
    """The fields of an identity file, flat and validated."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    sensor_id: Annotated[str, Field(pattern=SENSOR_ID_PATTERN), AfterValidator(derived_name)]
    type: OneLineText | None = None
    location: OneLineText | None = None
    city: OneLineText | None = None
    state: OneLineText | None = None
    country: OneLineText | None = None
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
    timezone: Annotated[str, AfterValidator(existing_timezone)] = "UTC"
    manufacturer: OneLineText | None = None
    model: OneLineText | None = None
    firmware_version: OneLineText | None = None
    serial_number: OneLineText | None = None
    manufacture_date: CalendarDate | None = None
    deployment_type: OneLineText | None = None
    installation_date: CalendarDate | None = None
    height_meters: Annotated[float, Field(ge=-12_000, le=100_000)] | None = None
    orientation_degrees: Annotated[float, Field(ge=0, le=360)] | None = None
    instance_id: OneLineText | None = None
    sensor_type: OneLineText | None = None
    attributes: Annotated[dict[str, OneLineText | int | float], Field(max_length=MAX_ATTRIBUTES)] = {}
    origin_seed: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    origin_index: Annotated[int, Field(ge=0)] | None = None
    origin_settings: str = ""


def document_fields(section: Mapping[str, Any], above: JsonPath = ()) -> Iterator[tuple[JsonPath, Any]]:
    """Yield the values of a document with their paths, descending into sections of the format only."""
    for key, value in section.items():
        keys = (*above, key)
        if isinstance(value, dict) and keys in SECTION_PATHS:
            yield from document_fields(value, keys)
        else:
            yield keys, value


REQUIREMENTS = {
    "string_pattern_mismatch": "must be 1 to 64 letters, digits, '_', '.' or '-', the first a letter or digit",
    "string_type": "must be text, in double quotes",
    "string_unicode": "must be text that UTF-8 can spell",
    "float_type": "must be a number",
    "too_long": "must be at most 200 characters",
}


def describe_requirement(kind: str, message: str) -> str:
    """Return the requirement that a refused value violates, from the kind and the message of pydantic's error."""
    message = message.removeprefix("Value error, ")
    return REQUIREMENTS.get(kind, message.replace("Input should be", "must be").replace("String should", "must"))
