"""A real Prometheus that scrapes one fleet by the config and the rules of deploy/prometheus."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.process.running_fleet import ROOT, wait_for
from tests.servers.program import free_port

DEPLOYED = ROOT / "deploy" / "prometheus"


class Prometheus:
    """Scrapes `target` (host:port) every `seconds`, which go for rules and for windows of them as well."""

    def __init__(self, directory: Path, target: str, seconds: int = 1) -> None:
        directory.mkdir()
        config = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": f"{seconds}s", "evaluation_interval": f"{seconds}s"}
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [target]}]
            job["scrape_interval"] = f"{seconds}s"
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        shutil.copy(DEPLOYED / "rules.yml", directory)
        self._url = f"http://127.0.0.1:{free_port()}"
        self._log = directory / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address={self._url.removeprefix('http://')}",
                    "--storage.tsdb.retention.time=1h",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=directory,
            )

    def ready(self) -> Prometheus:
        wait_for(self._answers, "Prometheus answers")
        return self

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):  # not yet, or it is still replaying its log
            return False

    def get(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> list[float]:
        """The values of all series that an expression has now."""
        return [float(found["value"][1]) for found in self.get("query", query=expression)["result"]]

    def value(self, expression: str) -> float | None:
        """The value of the one series, None where there is none yet."""
        found = self.values(expression)
        assert len(found) < 2, f"{expression}: {found}"
        return found[0] if found else None

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def names(expressions: str) -> set[str]:
    """The metrics of ours that PromQL or a template names; label values and texts are no names."""
    return set(re.findall(r"\bfleet[_:][a-z0-9_:]+\b", re.sub(r'"[^"]*"', "", expressions)))
