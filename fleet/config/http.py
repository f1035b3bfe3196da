"""The `monitoring` section of a config: where HTTP is served, and what its documents are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from fleet.validation.scalars import AsText, AsWhole, FieldError, Flag, Section, Text

RESERVED_PATHS = ("api", "grid", "livez", "metrics", "openapi.json", "sensors", "static", "workers")
"""The first parts of the paths that are not for renaming."""


def unreserved_path(value: str) -> str:
    if len(value) > 200:
        raise ValueError("is longer than 200 characters")
    if value.split("/")[1] in RESERVED_PATHS:
        raise ValueError(f"is taken by what is below {', '.join(f'/{name}' for name in RESERVED_PATHS)}")
    return value


UrlPath = Annotated[
    str,
    Field(pattern=r"^(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)+$", description="a path such as /healthz"),
    AsText,
    AfterValidator(unreserved_path),
]


class Endpoints(Section):
    """Further paths of five documents, for the fleet and, below /workers/<sensor id>, for a sensor. Their usual paths,
    the defaults, go on being served."""

    health: UrlPath = "/healthz"
    metrics: UrlPath = "/metricz"
    status: UrlPath = "/statusz"
    samples: UrlPath = "/samplez"
    db_stats: UrlPath = "/db_stats"

    @model_validator(mode="after")
    def different(self) -> Endpoints:
        usual = {field.default: name for name, field in type(self).model_fields.items()}
        seen: dict[str, str] = {}
        for name in type(self).model_fields:
            path = getattr(self, name)
            other = seen.setdefault(path, name) if usual.get(path, name) == name else usual[path]
            if other != name:
                raise FieldError(name, f"{path} is the path of {other}")
        return self

    def renamed(self) -> Mapping[str, str]:
        """The usual path by each that differs from it."""
        fields = type(self).model_fields.items()
        return {path: field.default for name, field in fields if (path := getattr(self, name)) != field.default}


class Monitoring(Section):
    """The HTTP side. On by default, but in a version 1 config only if it has this section. Port 0 is any free one. It may
    be asked by localhost, by IP addresses, and by the names in `allowed_hosts`."""

    enabled: Flag = True
    host: Text = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535), AsWhole] = 8080
    allowed_hosts: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    endpoints: Endpoints = Endpoints()
