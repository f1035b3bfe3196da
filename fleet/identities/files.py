"""Identity files: read in either of two formats, written in the nested one, and changed in place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fleet import atomic_write
from fleet.errors import UserError
from fleet.identities.fields import FIELD_PATHS, SECTION_PATHS, IdentityFields, describe_requirement, document_fields
from fleet.strict_json import parse_json, raise_json_error, read_text_file, short_json
from worker.spec import Identity

SENSOR_TYPE_LABELS = {"environmental": "environmental_monitoring"}
IDENTITY_COLUMNS = tuple(name for name in Identity.__dataclass_fields__ if name not in ("location", "sensor_type"))


@dataclass(frozen=True, slots=True)
class IdentityOrigin:
    """Where a minted identity comes from: fleet seed, its number, and a fingerprint of the other settings."""

    seed: int
    index: int
    settings: str


@dataclass(frozen=True, slots=True)
class StoredIdentity:
    """An identity and what its file says beyond the columns of a reading.

    `type` is the kind of sensor in the catalogue, None where the file leaves it to the configuration. `minted` is
    None for an identity that was given. `warnings`, one line each, tell what was passed over in the file.
    """

    identity: Identity
    type: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    minted: IdentityOrigin | None = None
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def sensor_id(self) -> str:
        return self.identity.sensor_id


def read_identity(path: Path) -> StoredIdentity:
    """The identity in the file, of either format; UserError says what is wrong and where."""
    text = read_text_file(path)
    document = parse_json(text, path)
    if not isinstance(document, dict):
        raise UserError(f"{path}: {short_json(document)} is not an identity (a JSON object with sensor_id)")
    places, strangers = locate_fields(document, text, path)
    values = {name: value for name, (_, value) in places.items()}
    if "sensor_id" not in values:
        raise UserError(f"{path}: no sensor_id in it (or id, in the flat format)")
    for one, other in (("latitude", "longitude"), ("longitude", "latitude")):
        if one in values and other not in values:
            raise_json_error(path, text, *places[one], f"must come with a {other}")
    try:
        fields = IdentityFields(**values)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise_json_error(path, text, *places[str(fault["loc"][0])], describe_requirement(fault["type"], fault["msg"]))
    return stored_identity(fields, (*strangers, *plausibility_warnings(path, fields)))


def locate_fields(
    document: Mapping[str, Any], text: str, path: Path
) -> tuple[dict[str, tuple[tuple[str, ...], Any]], list[str]]:
    """Where in the document each field is and its value, null taken as left out; and a warning for each stranger."""
    places: dict[str, tuple[tuple[str, ...], Any]] = {}
    strangers = []
    for keys, value in document_fields(document):
        name = FIELD_PATHS.get(keys)
        if value is None:
            continue
        if name is None and keys in SECTION_PATHS:
            raise_json_error(path, text, keys, value, "must be an object")
        if name is None:
            strangers.append(f"{path}: {short_json('.'.join(keys))}: not a field of an identity, passed over")
        elif name in places and places[name][1] != value:
            first, other = places[name]
            raise_json_error(path, text, keys, value, f"contradicts {'.'.join(first)}: {short_json(other)}")
        else:
            places[name] = keys, value
    return places, strangers


def plausibility_warnings(path: Path, fields: IdentityFields) -> Iterator[str]:
    """What is odd about an identity, though it can be used."""
    if "timezone" not in fields.model_fields_set:
        yield f"{path}: no timezone in it, taken as UTC"
    made, installed = fields.manufacture_date, fields.installation_date
    if made and installed and installed < made:
        yield f"{path}: installation_date {installed} is before manufacture_date {made}"


def stored_identity(fields: IdentityFields, warnings: tuple[str, ...]) -> StoredIdentity:
    parts = [part for part in (fields.city, fields.state, fields.country) if part]
    minted = None
    if fields.minted_seed is not None and fields.minted_index is not None:
        minted = IdentityOrigin(fields.minted_seed, fields.minted_index, fields.minted_settings)
    return StoredIdentity(
        identity=Identity(
            location=fields.location or ", ".join(parts) or None,
            sensor_type=fields.sensor_type or (sensor_type_label(fields.type) if fields.type else None),
            **{name: getattr(fields, name) for name in IDENTITY_COLUMNS},
        ),
        type=fields.type,
        city=fields.city,
        state=fields.state,
        country=fields.country,
        minted=minted,
        warnings=warnings,
    )


def sensor_type_label(kind: str) -> str:
    """What the column `sensor_type` says of a kind of sensor in the catalogue."""
    return SENSOR_TYPE_LABELS.get(kind, kind)


def identity_document(sensor: StoredIdentity) -> dict[str, Any]:
    """The document of an identity in the nested format, without the fields that it does not have."""
    who = sensor.identity
    coordinates = {"latitude": who.latitude, "longitude": who.longitude}
    minted = sensor.minted
    return without_empty(
        sensor_id=who.sensor_id,
        type=sensor.type,
        location=without_empty(
            city=sensor.city,
            state=sensor.state,
            country=sensor.country,
            coordinates=without_empty(**coordinates),
            timezone=who.timezone,
            address=who.location,
        ),
        device_info=without_empty(
            manufacturer=who.manufacturer,
            model=who.model,
            firmware_version=who.firmware_version,
            serial_number=who.serial_number,
            manufacture_date=who.manufacture_date,
        ),
        deployment=without_empty(
            deployment_type=who.deployment_type,
            installation_date=who.installation_date,
            height_meters=who.height_meters,
            orientation_degrees=who.orientation_degrees,
        ),
        metadata=without_empty(
            instance_id=who.instance_id,
            sensor_type=who.sensor_type,
            minted=minted and {"seed": minted.seed, "index": minted.index, "settings": minted.settings},
        ),
    )


def without_empty(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, {})}


def write_identity(directory: Path, sensor: StoredIdentity) -> Path:
    """Write the identity as `<sensor id>.json` in the nested format, whole or not at all; UserError if it cannot be."""
    path = directory / f"{sensor.sensor_id}.json"
    try:
        atomic_write.replace_file(path, json.dumps(identity_document(sensor), indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def read_identities(directory: Path) -> dict[str, StoredIdentity]:
    """All identities of the directory by sensor id, in the order of the file names; none if it does not exist.

    Every `*.json` in it that is not hidden counts. Two files with one id are a UserError. A file in place of the
    directory is the one identity there is, and was given, whoever minted it.
    """
    known: dict[str, StoredIdentity] = {}
    files: dict[str, Path] = {}
    for path in identity_files(directory):
        sensor = read_identity(path)
        if path == directory:
            sensor = replace(sensor, minted=None)
        other = files.setdefault(sensor.sensor_id, path)
        if other != path:
            raise UserError(f"{path}: sensor_id {short_json(sensor.sensor_id)} is already that of {other}")
        known[sensor.sensor_id] = sensor
    return known


def identity_files(directory: Path) -> list[Path]:
    """The identity files of the directory, sorted by name; of a file, which may have any name, that one."""
    try:
        if directory.is_file():
            return [directory]
        paths = sorted(directory.iterdir(), key=lambda path: path.name)
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise UserError(f"{directory}: is not a folder of identity files") from None
    except OSError as error:
        raise UserError(f"{directory}: cannot be listed: {error.strerror}") from None
    return [path for path in paths if path.suffix == ".json" and not path.name.startswith(".")]


FIRMWARE_FIELD = "firmware_version"


def set_firmware(directory: Path, sensor_id: str, firmware: str | None) -> None:
    """Write another firmware into the file of a sensor, whole or not at all; UserError if it cannot be done."""
    path = find_identity_file(directory, sensor_id)
    document = parse_json(read_text_file(path), path)
    *sections, key = firmware_path(document)
    section = document
    for name in sections:
        section[name] = section.get(name) or {}  # null is a section that was left out
        section = section[name]
    section[key] = firmware
    temporary = path.with_name(f".{path.stem}.new")
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    try:
        # Half of a surrogate pair, in a field that was passed over, is spelled as JSON spells it.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def find_identity_file(directory: Path, sensor_id: str) -> Path:
    """The file in which a sensor's identity is: usually by its name, but files that were given have any."""
    usual = directory / f"{sensor_id}.json"
    for path in [usual] if usual.is_file() else identity_files(directory):
        if read_identity(path).sensor_id == sensor_id:
            return path
    raise UserError(f"{directory}: there is no file with the identity of {short_json(sensor_id)}")


def firmware_path(document: dict[str, Any]) -> tuple[str, ...]:
    """Where the document has its firmware, or would have it: it is in one of two formats."""
    for keys, value in document_fields(document):
        if FIELD_PATHS.get(keys) == FIRMWARE_FIELD and value is not None:
            return keys
    nested = any((name,) in SECTION_PATHS and isinstance(value, dict) for name, value in document.items())
    return ("device_info", FIRMWARE_FIELD) if nested else (FIRMWARE_FIELD,)
