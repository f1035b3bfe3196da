"""A fleet from its config to its end: what `fleet up` does, and the single worker (`python -m worker`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fleet.config.config import Config, load_config, located_error
from fleet.datadir.directory import DataDirectory
from fleet.runtime.fleet import Fleet, Listener
from fleet.runtime.http_port import BindError, bind_http
from fleet.runtime.planner import Planner
from fleet.runtime.reload import ConfigSource


def launch(
    config: Path | None,
    overrides: Mapping[str, object],
    directory: DataDirectory,
    identities: Path | None,
    *,
    detach: bool = False,
) -> int:
    """Start a fleet and run it until it ends. Returns the exit code.

    `config` None is the packaged fleet.yaml, `overrides` are as of `load_config`, `identities` is a folder of identity
    files or one such file. Whatever can be refused is refused before anything is written: UserError.
    """
    settings = load_config(config, os.environ, overrides)
    directory.check_startable()
    Planner(settings, directory, identities).check_startable()
    listener = listen(settings, config, overrides)
    directory.hold()  # from here on, the directory is written to
    fleet = Fleet(settings, directory, ConfigSource(config, dict(os.environ), overrides), identities)
    fleet.prepare(listener)
    if detach:
        from fleet.runtime.daemonize import detach as leave

        leave(directory)
    return fleet.run()


def listen(settings: Config, config: Path | None, overrides: Mapping[str, object]) -> Listener | None:
    """The bound port that the config asks for, None if it asks for none. UserError with the place of what is wrong."""
    http = settings.monitoring
    try:
        return Listener(*bind_http(http.host, http.port)) if http.enabled else None
    except BindError as error:
        raise located_error(config, os.environ, overrides, f"monitoring.{error.key}", str(error)) from error
