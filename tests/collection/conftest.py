"""Fixtures that several files of tests share; one PostgreSQL server for all of them, started when the first asks for it."""

from tests.collection.postgres_server import postgres, postgres_target, postgres_url

__all__ = ["postgres", "postgres_target", "postgres_url"]
