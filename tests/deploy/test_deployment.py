"""What is written for compose, Bacalhau and Kubernetes: valid by their schemas, and right for this program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from click.testing import CliRunner
from pydantic import ValidationError

from fleet.cli import cli
from fleet.commands.worker import worker
from fleet.config.config import load_config
from tests.deploy.bacalhau import Job

pytestmark = pytest.mark.claim("001.architecture.7")

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = Path(__file__).parent / "data"
KUBERNETES = "1.29"
"""The oldest version whose schemas the manifests must fit; the newest is tested as well."""

Document = dict[str, Any]


def loaded(path: Path) -> Document:
    document: Document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def compose_verdict(*paths: Path) -> str:
    """What compose's own schema has against files, empty if nothing."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, paths)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if checked.returncode == 0 else checked.stdout + checked.stderr


@pytest.fixture(scope="module")
def manifests() -> list[Document]:
    return [*yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8"))]


def container(manifest: Document) -> Document:
    found: Document = manifest["spec"]["template"]["spec"]["containers"][0]
    return found


# Images


@pytest.mark.claim("001.quick-start.2", "001.quick-start.3")
def test_docker_lines_of_the_source_documents_name_the_image() -> None:
    """`scripts/build_image.sh` runs each: under the names that it gives the image, on the folder that it makes."""
    blocks = (DATA / "docker-lines.sh").read_text(encoding="utf-8").strip("\n").split("\n\n")
    script = (ROOT / "scripts" / "build_image.sh").read_text(encoding="utf-8")
    (names,) = re.findall(r"^DOCUMENTED_NAMES=\((.*)\)$", script, re.MULTILINE)

    for block in blocks:
        *options, image = block.replace("\\\n", " ").split()
        assert ["docker", "run"] == options[:2]
        assert "$(pwd)/data:/app/data" in options
        assert image.removesuffix(":latest") in names.split()
    assert 10 == len(blocks)


def test_an_image_starts_by_its_entry_point() -> None:
    """The places that deploy/entrypoint names are those of the Dockerfile."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    script = (ROOT / "deploy" / "entrypoint").read_text(encoding="utf-8")
    places = dict(re.findall(r"^(DATA|PROGRAMS|LAUNCHERS)=(.*)$", script, re.MULTILINE))

    assert f'ENTRYPOINT ["{places["LAUNCHERS"]}/entrypoint"]' in dockerfile
    assert f"ENV PATH={places['LAUNCHERS']}:{places['PROGRAMS']}:$PATH" in dockerfile
    assert f"VOLUME {places['DATA']}\n" in dockerfile
    assert os.access(ROOT / "deploy" / "entrypoint", os.X_OK)


# Compose


@pytest.mark.claim("000.docker-bacalhau.1", "001.quick-start.4")
def test_compose_files_fit_the_schema(tmp_path: Path) -> None:
    """Ours and those of the source documents; a piece of one stands in a service."""
    piece = tmp_path / "piece.yaml"
    environment = loaded(DATA / "001-compose-environment.yaml")
    piece.write_text(yaml.safe_dump({"services": {"sensor": environment}}))
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("services: {sensor: {image: x, portz: [8080]}}")
    files = [
        ROOT / "compose.yaml",
        *sorted(DATA.glob("*-compose.yaml")),
        *sorted(DATA.glob("*-compose-[ln]*.yaml")),
        piece,
    ]

    assert 6 == len(files)
    assert "" == compose_verdict(*files)
    assert "portz" in compose_verdict(wrong)


@pytest.mark.claim("000.integration-points.6", "001.quick-start.5", "002.technical-implementation.3")
def test_compose_services_drain_and_keep_their_data() -> None:
    """A named volume each at the place where data goes, and more time to stop than draining takes."""
    services = loaded(ROOT / "compose.yaml")["services"]

    profiles = {"sensor": None, "fleet": ["fleet"], "collector": ["collector"], "receiver": ["collector"]}
    assert profiles == {name: service.get("profiles") for name, service in services.items()}
    for service in services.values():
        (volume,) = service["volumes"]
        assert volume.split(":")[0] in loaded(ROOT / "compose.yaml")["volumes"]
        assert volume.endswith(":/app/data")
        assert ("10001:10001", ["ALL"]) == (service["user"], service["cap_drop"])
        assert int(service["stop_grace_period"].rstrip("s")) > load_config(None).supervision.drain_seconds
    for name in ("fleet", "collector", "receiver"):
        assert_command([re.sub(r"\$\{\w+:-(.*)\}", r"\1", argument) for argument in services[name]["command"]])


# Bacalhau


@pytest.mark.claim("000.docker-bacalhau.2", "002.use-case.6")
def test_bacalhau_jobs_fit_the_specification() -> None:
    """Ours and that of the source documents, and a wrong key is noticed."""
    ours = loaded(ROOT / "deploy" / "bacalhau.yaml")
    theirs = loaded(DATA / "000-bacalhau.yaml")

    Job.model_validate(ours)
    assert "sensor-simulator:latest" == Job.model_validate(theirs).tasks[0].engine.params.image
    with pytest.raises(ValidationError, match="resultpathz"):
        Job.model_validate({**ours, "Tasks": [{**ours["Tasks"][0], "resultPathz": []}]})


@pytest.mark.claim("000.integration-points.8")
def test_the_bacalhau_job_ends_by_itself() -> None:
    """With an example that is in the image, within its timeout, its database in what it hands back."""
    (task,) = Job.model_validate(loaded(ROOT / "deploy" / "bacalhau.yaml")).tasks
    params = task.engine.params
    assert_command([*params.entrypoint, *params.parameters])
    config = load_config(ROOT / params.parameters[params.parameters.index("--config") + 1])

    assert config.simulation.duration_seconds is not None
    assert task.timeouts is not None
    assert config.simulation.duration_seconds < (task.timeouts.executiontimeout or 0)
    assert [f"/app/{Path(config.database.path).parent}"] == [result.path for result in task.resultpaths]
    assert "COPY configs /app/configs" in (ROOT / "Dockerfile").read_text()


# Kubernetes


@pytest.mark.parametrize("version", [KUBERNETES, kubernetes_validate.latest_version()])
@pytest.mark.claim("000.integration-points.7")
def test_kubernetes_manifests_fit_the_schema(manifests: list[Document], version: str) -> None:
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError, match="replicaz"):
        kubernetes_validate.validate(
            {**manifests[2], "spec": {**manifests[2]["spec"], "replicaz": 1}}, version, strict=True
        )


def test_kubernetes_pods_are_confined_and_probed(manifests: list[Document]) -> None:
    """Not as root, on a root file system that is read-only; ready by /healthz, alive by /livez: a full disk is no
    reason to restart. Data is in a claimed volume, there is time to drain, and no variable comes from a service."""
    pods = [manifest for manifest in manifests if manifest["kind"] in ("StatefulSet", "Deployment")]

    assert 2 == len(pods)
    for manifest in pods:
        pod, inside = manifest["spec"]["template"]["spec"], container(manifest)
        assert (True, 10001) == (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"])
        assert inside["securityContext"]["readOnlyRootFilesystem"]
        assert pod["enableServiceLinks"] is False
        assert pod["terminationGracePeriodSeconds"] > load_config(None).supervision.drain_seconds
        paths = {name: inside[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
        assert {"startup": "/livez", "liveness": "/livez", "readiness": "/healthz"} == paths
        assert {"/app/data", "/app/config", "/tmp"} == {mount["mountPath"] for mount in inside["volumeMounts"]}
        assert_command(inside["command"])
    user = pod["securityContext"]["runAsUser"]
    assert f"useradd --uid {user} " in (ROOT / "Dockerfile").read_text()
    assert f"IMAGE_USER={user}\n" in (ROOT / "deploy" / "entrypoint").read_text()


@pytest.mark.claim("000.integration-points.7")
def test_the_config_map_is_a_config(manifests: list[Document], tmp_path: Path) -> None:
    (config_map,) = [manifest for manifest in manifests if manifest["kind"] == "ConfigMap"]
    (tmp_path / "config.yaml").write_text(config_map["data"]["config.yaml"])

    config = load_config(tmp_path / "config.yaml")

    assert "/app/data/sensor_data.db" == config.database.path


def assert_command(words: list[str]) -> None:
    """That the words are a command line of ours: every option is one that it has."""
    program, command = (words[3:], worker) if words[:3] == ["python", "-m", "worker"] else (words[1:], cli)
    assert command is worker or words[0] == "fleet"
    result = CliRunner().invoke(command, [*program, "--help"], standalone_mode=False)

    assert result.exception is None, result.exception
