"""Identity files that are changed in place: one field is another, all else stays as it was written."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from fleet.errors import UserError
from fleet.identities.fields import FIELD_PATHS, SECTION_PATHS, document_fields
from fleet.identities.identities import identity_files, read_identity
from fleet.strict_json import parse_json, read_text_file, short_json

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
