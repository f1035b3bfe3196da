"""Keys of a terminal: read one at a time, by name, while the terminal is in a mode that is taken back whatever happens."""

from __future__ import annotations

import os
import re
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# One key: a control sequence, a character of UTF-8, or a single byte.
KEY_SEQUENCE = re.compile(
    rb"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}|.",
    re.DOTALL,
)
PARTIAL_KEY = re.compile(rb"\x1b(?:\[[0-9;]*|O)?|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2}")

KEY_NAMES = {
    **{b"\x1b" + start + letter: name for start in (b"[", b"O") for letter, name in (
        (b"A", "up"), (b"B", "down"), (b"H", "home"), (b"F", "end"),
    )},
    b"\x1b[5~": "pgup",
    b"\x1b[6~": "pgdn",
    b"\x1b[1~": "home",
    b"\x1b[7~": "home",
    b"\x1b[4~": "end",
    b"\x1b[8~": "end",
    b"\x1b": "escape",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\x08": "backspace",
}  # fmt: skip


def parse_keys(received: bytes) -> tuple[list[str], bytes]:
    """The names of the keys in what was received, characters as they are, and the beginning of one that was cut off."""
    names: list[str] = []
    place = 0
    while place < len(received):
        if PARTIAL_KEY.fullmatch(received, place):
            break
        found = KEY_SEQUENCE.match(received, place)
        assert found is not None  # it matches any byte
        place = found.end()
        names.append(key_name(found[0]))
    return [name for name in names if name], received[place:]


def key_name(key: bytes) -> str:
    """The empty text for what nobody asks about."""
    text = KEY_NAMES.get(key) or key.decode(errors="replace")
    return text if text in KEY_NAMES.values() or (text.isprintable() and len(text) == 1) else ""


@contextmanager
def cbreak_mode(terminal: int) -> Iterator[None]:
    """Each key at once and unseen, also Ctrl-Z, which would leave the screen as it is. Ctrl-C is still a signal."""
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    mode = termios.tcgetattr(terminal)
    mode[6][termios.VSUSP] = os.fpathconf(terminal, "PC_VDISABLE").to_bytes(1, "little")
    termios.tcsetattr(terminal, termios.TCSADRAIN, mode)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(terminal, termios.TCSANOW, before)
