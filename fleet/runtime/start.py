"""Start a fleet from its config: the body of `fleet up` and of the single worker (`python -m worker`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click

from fleet.config.config import Config, located_error
from fleet.config.effects import load_with_warnings
from fleet.datadir.directory import DataDirectory
from fleet.runtime.fleet import Fleet, ServeHTTP
from fleet.runtime.http_port import BindError, bind_http
from fleet.runtime.planner import Planner
from fleet.runtime.preparation import Listener, prepare_run
from fleet.runtime.reload import ConfigSource


def launch(
    config: Path | None,
    overrides: Mapping[str, object],
    directory: DataDirectory,
    identities: Path | None,
    serve_http: ServeHTTP,
    *,
    detach: bool = False,
) -> int:
    """Start a fleet and run it until it ends. Returns the exit code.

    `config` None is the packaged fleet.yaml, `overrides` are those of `load_config`, `identities` is a folder of identity
    files or one such file. `serve_http` is the body of the HTTP service. Raises UserError, before anything is written if
    possible.
    """
    settings, warnings = load_with_warnings(config, os.environ, overrides, directory.databases)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    directory.check_startable()
    Planner(settings, directory, identities).check_startable()
    listener = listen(settings, config, overrides)
    directory.hold()  # from here on, the directory is written to
    source = ConfigSource(config, dict(os.environ), overrides)
    prepared = prepare_run(settings, directory, source, identities, listener)
    if detach:
        from fleet.runtime import daemonize

        daemonize.detach(directory)
    return Fleet(prepared, serve_http).run()


def listen(settings: Config, config: Path | None, overrides: Mapping[str, object]) -> Listener | None:
    """Bind the port that the config asks for, None if it asks for none. Raises UserError with the place in the config."""
    http = settings.monitoring
    try:
        return Listener(*bind_http(http.host, http.port)) if http.enabled else None
    except BindError as error:
        raise located_error(config, os.environ, overrides, f"monitoring.{error.key}", str(error)) from error
