"""Identity files: read in either of two formats, written in the nested one, and changed in place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fleet import atomic_write
from fleet.errors import UserError
from fleet.identities.fields import FIELD_PATHS, SECTION_PATHS, IdentityFields, describe_requirement, document_fields
from fleet.identities.places import city_code
from fleet.strict_json import parse_json, raise_json_error, read_text_file, short_json
from worker.spec import Identity

SENSOR_TYPE_LABELS = {"environmental": "environmental_monitoring"}
IDENTITY_COLUMNS = tuple(
    name for name in Identity.__dataclass_fields__ if name not in ("location", "sensor_type", "attributes")
)


@dataclass(frozen=True, slots=True)
class IdentityOrigin:
    """The origin of a generated identity: the fleet's seed, its number, and a fingerprint of the other settings."""

    seed: int
    index: int
    settings: str


@dataclass(frozen=True, slots=True)
class StoredIdentity:
    """An identity and the values of its file that are no columns of a reading.

    `type` is a sensor type of the catalogue, None if the file leaves it to the config. `origin` is None for an
    identity that was provided by the user. `warnings`, one line each, name what was ignored in the file.
    """

    identity: Identity
    type: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    origin: IdentityOrigin | None = None
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def sensor_id(self) -> str:
        return self.identity.sensor_id


def read_identity(path: Path) -> StoredIdentity:
    """Read the identity in the file, in either format; UserError with the place of the first error."""
    text = read_text_file(path)
    document = parse_json(text, path)
    if not isinstance(document, dict):
        raise UserError(f"{path}: {short_json(document)} is not an identity (a JSON object with sensor_id)")
    located, warnings = locate_fields(document, text, path)
    values = {name: value for name, (_, value) in located.items()}
    if not values:
        raise UserError(f"{path}: no sensor_id in it (or id, in the flat format), nor any other field of an identity")
    if "sensor_id" not in values:
        values["sensor_id"] = generated_id(values, path)
        warnings.append(f"{path}: no sensor_id in it; it is {values['sensor_id']} unless SENSOR_ID gives another")
    for one, other in (("latitude", "longitude"), ("longitude", "latitude")):
        if one in values and other not in values:
            raise_json_error(path, text, *located[one], f"must come with a {other}")
    try:
        fields = IdentityFields(**values)
    except ValidationError as error:
        issue = error.errors(include_url=False)[0]
        raise_json_error(path, text, *located[str(issue["loc"][0])], describe_requirement(issue["type"], issue["msg"]))
    return stored_identity(fields, (*warnings, *plausibility_warnings(path, fields)))


def generated_id(fields: Mapping[str, Any], path: Path) -> str:
    """Return the id of an identity without one: three letters of its city and six digits. The digits are a hash of the
    first that it has of instance id, serial number and place, and of the name of its file, so that other fields may
    change."""
    place = [fields.get(name) for name in ("latitude", "longitude", "city", "location")]
    what = fields.get("instance_id") or fields.get("serial_number") or place
    digest = blake2b(f"{path.stem}/{what}".encode(errors="backslashreplace"), digest_size=8, person=b"fleet-identity")
    city = fields.get("city") or fields.get("location")
    return f"{city_code(str(city or 'SENSOR'))}_{int.from_bytes(digest.digest(), 'little') % 1_000_000:06d}"


def locate_fields(
    document: Mapping[str, Any], text: str, path: Path
) -> tuple[dict[str, tuple[tuple[str, ...], Any]], list[str]]:
    """Return the path and value of each field (null counts as absent), and a warning for each unknown field."""
    located: dict[str, tuple[tuple[str, ...], Any]] = {}
    warnings = []
    for keys, value in document_fields(document):
        name = FIELD_PATHS.get(keys)
        if value is None:
            continue
        if name is None and keys in SECTION_PATHS:
            raise_json_error(path, text, keys, value, "must be an object")
        if name is None:
            warnings.append(f"{path}: {short_json('.'.join(keys))}: not a field of an identity, ignored")
        elif name in located and located[name][1] != value:
            first, other = located[name]
            raise_json_error(path, text, keys, value, f"contradicts {'.'.join(first)}: {short_json(other)}")
        else:
            located[name] = keys, value
    return located, warnings


def plausibility_warnings(path: Path, fields: IdentityFields) -> Iterator[str]:
    """Yield a warning for each implausible value that is usable nevertheless."""
    if "timezone" not in fields.model_fields_set:
        yield f"{path}: no timezone in it, taken as UTC"
    made, installed = fields.manufacture_date, fields.installation_date
    if made and installed and installed < made:
        yield f"{path}: installation_date {installed} is before manufacture_date {made}"


def stored_identity(fields: IdentityFields, warnings: tuple[str, ...]) -> StoredIdentity:
    parts = [part for part in (fields.city, fields.state, fields.country) if part]
    origin = None
    if fields.origin_seed is not None and fields.origin_index is not None:
        origin = IdentityOrigin(fields.origin_seed, fields.origin_index, fields.origin_settings)
    return StoredIdentity(
        identity=Identity(
            location=fields.location or ", ".join(parts) or None,
            sensor_type=fields.sensor_type or (sensor_type_label(fields.type) if fields.type else None),
            attributes=tuple(fields.attributes.items()),
            **{name: getattr(fields, name) for name in IDENTITY_COLUMNS},
        ),
        type=fields.type,
        city=fields.city,
        state=fields.state,
        country=fields.country,
        origin=origin,
        warnings=warnings,
    )


def sensor_type_label(sensor_type: str) -> str:
    """Return the value of the column `sensor_type` for a sensor type of the catalogue."""
    return SENSOR_TYPE_LABELS.get(sensor_type, sensor_type)


def identity_document(sensor: StoredIdentity) -> dict[str, Any]:
    """Return the document of an identity in the nested format, without empty fields."""
    who = sensor.identity
    coordinates = {"latitude": who.latitude, "longitude": who.longitude}
    origin = sensor.origin
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
        attributes=without_empty(**dict(who.attributes)),
        metadata=without_empty(
            instance_id=who.instance_id,
            sensor_type=who.sensor_type,
            minted=origin and {"seed": origin.seed, "index": origin.index, "settings": origin.settings},
        ),
    )


def without_empty(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, {})}


def write_identity(directory: Path, sensor: StoredIdentity) -> Path:
    """Write the identity as `<sensor id>.json` in the nested format, atomically; UserError if that fails."""
    path = directory / f"{sensor.sensor_id}.json"
    try:
        atomic_write.replace_file(path, json.dumps(identity_document(sensor), indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def read_identities(directory: Path) -> dict[str, StoredIdentity]:
    """Read all identities of the directory by sensor id, in the order of the file names; none if it does not exist.

    Every `*.json` in it that is not hidden is read. Two files with one id are a UserError. If `directory` is a file,
    it is the only identity and counts as provided by the user, even if it was generated.
    """
    known: dict[str, StoredIdentity] = {}
    files: dict[str, Path] = {}
    for path in identity_files(directory):
        sensor = read_identity(path)
        if path == directory:
            sensor = replace(sensor, origin=None)
        other = files.setdefault(sensor.sensor_id, path)
        if other != path:
            raise UserError(f"{path}: sensor_id {short_json(sensor.sensor_id)} is already that of {other}")
        known[sensor.sensor_id] = sensor
    return known


def identity_files(directory: Path) -> list[Path]:
    """Return the identity files of the directory, sorted by name; of a file, which may have any name, that one."""
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
    """Write another firmware into the file of a sensor, atomically; UserError if that fails."""
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
        # Half of a surrogate pair, in an ignored field, is written as JSON spells it.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def find_identity_file(directory: Path, sensor_id: str) -> Path:
    """Return the file that has a sensor's identity: usually named after it, but a user's files may have any name."""
    usual = directory / f"{sensor_id}.json"
    for path in [usual] if usual.is_file() else identity_files(directory):
        if read_identity(path).sensor_id == sensor_id:
            return path
    raise UserError(f"{directory}: there is no file with the identity of {short_json(sensor_id)}")


def firmware_path(document: dict[str, Any]) -> tuple[str, ...]:
    """Return the path of the firmware in the document, or the path it would have in the document's format."""
    for keys, value in document_fields(document):
        if FIELD_PATHS.get(keys) == FIRMWARE_FIELD and value is not None:
            return keys
    nested = any((name,) in SECTION_PATHS and isinstance(value, dict) for name, value in document.items())
    return ("device_info", FIRMWARE_FIELD) if nested else (FIRMWARE_FIELD,)
