"""Removes secrets from texts that are shown to others."""

from __future__ import annotations

import re

REMOVED = "***"
URL_LOGIN = re.compile(r"(\w[\w+.-]*://)[^/\s\"'@]*@")
URL_QUERY = re.compile(r"(\w[\w+.-]*://[^\s\"'?]*\?)[^\s\"']+")
SECRET_NAME = (
    r"[\w.-]*(?:password|passwd|secret|token|credential|api[_-]?key|access[_-]?key|authorization|cookie)[\w.-]*"
)
SECRET_VALUE = re.compile(
    rf"^(\s*(?:- )?[\"']?{SECRET_NAME}[\"']?[ \t]*[:=][ \t]*)(?=\S).+$", re.IGNORECASE | re.MULTILINE
)


def without_secrets(text: str) -> str:
    """Return a text without users, passwords and queries of URLs, and without the values of keys that name a secret."""
    text = URL_LOGIN.sub(rf"\g<1>{REMOVED}@", text)
    text = URL_QUERY.sub(rf"\g<1>{REMOVED}", text)
    return SECRET_VALUE.sub(rf"\g<1>{REMOVED}", text)
