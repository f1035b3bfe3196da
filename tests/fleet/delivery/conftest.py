"""Fixtures that several files of tests share; a PostgreSQL server for each module that asks for one."""

from tests.servers.postgres import postgres, postgres_target, postgres_url

__all__ = ["postgres", "postgres_target", "postgres_url"]
