"""The owners and modes of the files by which a fleet is controlled and found: the folder `run/`.

A user who can write there can have a fleet obey a token of theirs, or write to a file elsewhere through a symbolic link.
So the folder belongs to the user that runs the fleet, no other user may write to it or have a file in it. Root
is trusted. A data directory itself may be shared, with a group or with everyone, as mounted folders often are: see
docs/files.md.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from fleet.errors import UserError

ROOT = 0
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def secure_run_folder(folder: Path) -> None:
    """Take write permission on the folder from all other users. Raises OSError, and UserError if the folder or a file in
    it belongs to one of them."""
    trusted = trusted_owners(folder)
    check_owner(folder, folder.stat(), trusted)
    for entry in folder.iterdir():
        check_owner(entry, entry.lstat(), trusted)
    status = folder.stat()
    if status.st_mode & OTHERS_WRITE and status.st_uid == os.geteuid():
        folder.chmod(stat.S_IMODE(status.st_mode) & ~OTHERS_WRITE)


def trusted_owners(folder: Path) -> set[int]:
    """Return root, this user, and the user that this one's files belong to in the folder: a network file system may
    give them to another."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        return {ROOT, os.geteuid(), os.fstat(probe.fileno()).st_uid}


def check_trusted(path: Path) -> None:
    """Raise UserError unless a file in `run/`, and what it leads to if it is a symbolic link, belongs to this user or root.

    For root it may belong to the owner of the data directory, too, but no link of another user may lead out of it. Raises
    OSError.
    """
    if reason := foreign_link(path):
        raise UserError(f"{path}: {reason}: not followed")
    trusted = {ROOT, os.geteuid()}
    owners = {path.lstat().st_uid, path.stat().st_uid}
    if os.geteuid() == ROOT:
        trusted.add(path.parent.stat().st_uid if path.is_dir() else path.parent.parent.stat().st_uid)
    if not owners <= trusted:
        with suppress(OSError):  # where nothing can be written, no file can be this user's under another name
            trusted |= trusted_owners(path if path.is_dir() else path.parent)
    if others := owners - trusted:
        raise UserError(
            f"{path}: belongs to another user (uid {min(others)}, this is uid {os.geteuid()}): nothing is sent to it; "
            "run this as the user of the fleet"
        )


def foreign_link(path: Path) -> str:
    """Return the reason not to follow a path, which is a symbolic link of another user that leads out of its folder; an
    empty text for any other path."""
    try:
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode) or status.st_uid in (ROOT, os.geteuid()):
            return ""
        target = path.resolve()
        inside = target.is_relative_to(path.parent.resolve())
    except (OSError, ValueError, RuntimeError):  # opening it reports the reason
        return ""
    if inside:
        return ""
    return f"is a symbolic link of another user (uid {status.st_uid}) that leads out of its folder, to {target}"


def check_owner(path: Path, status: os.stat_result, trusted: set[int]) -> None:
    if status.st_uid not in trusted:
        raise UserError(
            f"{path}: belongs to another user (uid {status.st_uid}, this is uid {os.geteuid()}): "
            "start the fleet as that user, or remove it"
        )
