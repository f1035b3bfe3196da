"""The URLs of targets with the secrets in them. A URL with a password is taken from an environment variable or from a file only:
`env:NAME` and `file:PATH` stand for it on command lines, in configs and in messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from fleet.errors import UserError
from fleet.escaping import escape_short

ENVIRONMENT, FILE = "env:", "file:"
MAX_URL_FILE_BYTES = 64 * 1024

# A port and a path are not a password, though an @ follows.
PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*:/{0,2}(?!/)[^/?#@\s\[]*:(?!\d+(?:[/?#]|$))[^\s]*@", re.IGNORECASE)

ADVICE = "put the URL into an environment variable or a file, and give env:NAME or file:PATH"


@dataclass(frozen=True, slots=True)
class Login:
    """The user and the password of a URL; the password is empty if there is none."""

    user: str
    password: str = field(repr=False)


def login_variables(
    environment: Mapping[str, str], login: Login | None, user_variable: str, password_variable: str
) -> Mapping[str, str]:
    """Return the environment with the user and the password of a URL, if it has them, in place of its own."""
    if login is None:
        return environment
    return {**environment, user_variable: login.user, password_variable: login.password}


@dataclass(frozen=True, slots=True)
class TargetUrl:
    """A URL as it is used, without user and password if it has them, and `given`, as the user wrote it."""

    given: str
    url: str = field(repr=False)
    login: Login | None = None

    @property
    def is_secret(self) -> bool:
        """True if the user wrote a reference."""
        return self.given.startswith((ENVIRONMENT, FILE))


def without_password(url: str) -> str:
    """Check a target as it is written. ValueError if it has a password in it, in words that follow the target."""
    if not url.startswith((ENVIRONMENT, FILE)) and PASSWORD.match(url):
        raise ValueError(f"has a password in it, which others could see: {ADVICE}")
    return url


def resolve_target(given: str, environment: Mapping[str, str], option: str = "--to") -> TargetUrl:
    """Find the URL that `given` is or stands for. UserError, without a secret, if there is none."""
    try:
        without_password(given)
    except ValueError as error:
        raise UserError(f"{option}: {escape_short(given)!r} {error}") from None
    if given.startswith(ENVIRONMENT):
        url = variable(given, environment, option)
    elif given.startswith(FILE):
        url = content(given, option)
    else:
        return TargetUrl(given, given)
    scheme, slashes, rest = url.partition("://")
    end = re.search(r"[/?#]|$", rest)
    authority = rest[: end.start()] if end else rest
    login, at, host = authority.rpartition("@")
    if not slashes or not at:
        if PASSWORD.match(url):
            raise UserError(f"{option}: {given}: a / ? # or @ in a user or a password is written as %2F %3F %23 or %40")
        return TargetUrl(given, url)
    user, _, password = login.partition(":")
    return TargetUrl(given, f"{scheme}://{host}{rest[len(authority) :]}", Login(unquote(user), unquote(password)))


def variable(given: str, environment: Mapping[str, str], option: str) -> str:
    name = given.removeprefix(ENVIRONMENT)
    value = environment.get(name, "").strip()
    if not value:
        raise UserError(f"{option}: {escape_short(given)}: the environment variable {escape_short(name)!r} is not set")
    return single_line(value, given, option)


def content(given: str, option: str) -> str:
    path = Path(given.removeprefix(FILE))
    try:
        with path.open("rb") as file:
            text = file.read(MAX_URL_FILE_BYTES).decode("utf-8").strip()
    except OSError as error:
        raise UserError(f"{option}: {escape_short(given)}: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{option}: {escape_short(given)}: is no text in UTF-8") from None
    if not text:
        raise UserError(f"{option}: {escape_short(given)}: the file is empty: wanted is a URL")
    return single_line(text, given, option)


def single_line(text: str, given: str, option: str) -> str:
    if len(text.split()) > 1:
        raise UserError(f"{option}: {escape_short(given)}: holds more than one word: wanted is a URL")
    return text
