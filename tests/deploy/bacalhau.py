"""Bacalhau's job specification, as far as batch jobs in containers need it: what a job file may say.

After https://docs.bacalhau.org, "Job Specification" and "Docker Engine". Bacalhau takes keys in any case.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1)]
AbsolutePath = Annotated[str, Field(pattern=r"^/")]
Quantity = Annotated[str, Field(pattern=r"^[0-9.]+\s?[kKmMgGtT]?i?[bB]?$")]
KeyValue = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*=")]
Seconds = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """A mapping of the specification, its keys in any case."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def in_lower_case(cls, data: Any) -> Any:
        return {str(key).lower(): value for key, value in data.items()} if isinstance(data, dict) else data


class DockerParams(Part):
    image: Name
    entrypoint: list[str] = []
    parameters: list[str] = []
    environmentvariables: list[KeyValue] = []
    workingdirectory: AbsolutePath | None = None


class Docker(Part):
    type: Annotated[Literal["docker"], BeforeValidator(lambda name: name.lower())]
    params: DockerParams


class SpecConfig(Part):
    type: Name
    params: dict[str, Any] = {}


class InputSource(Part):
    source: SpecConfig
    target: AbsolutePath
    alias: str | None = None


class ResultPath(Part):
    name: Name
    path: AbsolutePath


class Resources(Part):
    cpu: Annotated[str, Field(pattern=r"^[0-9.]+m?$")] | None = None
    memory: Quantity | None = None
    disk: Quantity | None = None
    gpu: Annotated[str, Field(pattern=r"^[0-9]+$")] | None = None


class Network(Part):
    type: Literal["None", "HTTP", "Full", "Host", "Bridge"]
    domains: list[str] = []


class Timeouts(Part):
    executiontimeout: Seconds | None = None
    queuetimeout: Seconds | None = None
    totaltimeout: Seconds | None = None


class Task(Part):
    name: Name
    engine: Docker
    publisher: SpecConfig | None = None
    env: dict[str, str] = {}
    meta: dict[str, str] = {}
    inputsources: list[InputSource] = []
    resultpaths: list[ResultPath] = []
    resources: Resources | None = None
    network: Network | None = None
    timeouts: Timeouts | None = None


class Job(Part):
    name: Name
    type: Literal["batch", "ops", "service", "daemon"]
    namespace: str | None = None
    count: Annotated[int, Field(ge=0)] = 1
    priority: int = 0
    labels: dict[str, str] = {}
    meta: dict[str, str] = {}
    constraints: list[dict[str, Any]] = []
    tasks: Annotated[list[Task], Field(min_length=1, max_length=1)]
