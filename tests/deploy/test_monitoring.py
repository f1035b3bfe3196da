"""What deploy/ has for Prometheus and Grafana fits what a fleet exposes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from fleet.datadir.delivery_status import TargetStatus
from fleet.web.app import create_app
from tests.fleet.staged import StagedFleet
from tests.process.running_fleet import ROOT
from tests.servers.prometheus import DEPLOYED, names

DASHBOARD = ROOT / "deploy" / "grafana" / "fleet.json"
PAGE = ROOT / "docs" / "monitoring.md"


@pytest.fixture
def exposed(tmp_path: Path) -> set[str]:
    """The names of all series, those of single sensors included."""
    staged = StagedFleet(tmp_path / "data")
    staged.write(0, 3, "spike")
    staged.deliver(TargetStatus("jsonl:x", last_error="full", last_error_at=1.0))
    text = create_app(staged.run).test_client().get("/metrics?per_sensor=1").get_data(as_text=True)
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOYED / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}


def expressions(panels: list[dict[str, Any]]) -> list[str]:
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_rules_are_about_series_that_exist(exposed: set[str]) -> None:
    asked = set().union(*(names(rule["expr"]) for rule in rules()))

    assert len(asked) > 10
    assert set() == asked - exposed - recorded()


@pytest.mark.claim("001.simulator.6")
def test_the_dashboard_is_about_series_that_exist(exposed: set[str]) -> None:
    """Its variables too; and every panel has queries, a title and a place that no other panel has."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    variables = [entry["definition"] for entry in dashboard["templating"]["list"] if entry["type"] == "query"]
    asked = set().union(*(names(text) for text in [*expressions(panels), *variables]))

    assert len(asked) > 15
    assert set() == asked - exposed - recorded()
    assert all(panel["title"] and panel["targets"] for panel in panels)
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert 24 == max(at["x"] + at["w"] for at in places)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_rates_need_no_scrape_more_often_than_ours() -> None:
    """Grafana takes a rate over four times the minimum step of its query: that of the slowest job by default, so that no
    panel is empty."""
    dashboard = json.loads(DASHBOARD.read_text())
    (variable,) = [entry for entry in dashboard["templating"]["list"] if entry["name"] == "scrape"]
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    rates = [target for target in targets if "[" in target["expr"]]
    config = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
    slowest = max(int(job.get("scrape_interval", "15s").removesuffix("s")) for job in config["scrape_configs"])

    assert (60, "1m") == (slowest, variable["current"]["value"])
    assert len(rates) > 10
    assert {"$__rate_interval"} == {span for target in rates for span in re.findall(r"\[(.*?)\]", target["expr"])}
    assert {"$scrape"} == {target.get("interval") for target in rates}


def test_the_page_names_every_metric(exposed: set[str]) -> None:
    """All that are exposed or recorded are explained in docs/monitoring.md, and no others."""
    told = names(PAGE.read_text().replace("`", " "))
    families = {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name in exposed}

    assert families | recorded() == {name for name in told if not name.endswith(("_bucket", "_count", "_sum"))}


@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "rules.yml"), ("check", "config", "prometheus.yml"), ("test", "rules", "{tests}")],
)
def test_promtool_has_nothing_to_complain_about(arguments: tuple[str, ...]) -> None:
    """About the rules, the config, and what the rules make of series that were made up."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    made_up = Path(__file__).with_name("rules_test.yml")
    command = [promtool, *(argument.format(tests=made_up) for argument in arguments)]
    checked = subprocess.run(command, cwd=DEPLOYED, capture_output=True, text=True, check=False)

    assert 0 == checked.returncode, checked.stdout + checked.stderr
    assert "SUCCESS" in checked.stdout
    assert "warning" not in (checked.stdout + checked.stderr).lower().replace("severity: warning", "")


def test_the_expressions_of_the_dashboard_are_promql(tmp_path: Path) -> None:
    """With what Grafana fills in."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    found = expressions(json.loads(DASHBOARD.read_text())["panels"])
    filled = [text.replace("$__rate_interval", "1m") for text in found]
    groups = {"groups": [{"name": "x", "rules": [{"record": f"r{n}", "expr": text} for n, text in enumerate(filled)]}]}
    (tmp_path / "rules.yml").write_text(json.dumps(groups))
    command = [promtool, "check", "rules", str(tmp_path / "rules.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert 0 == checked.returncode, checked.stdout + checked.stderr
    assert f"{len(filled)} rules found" in checked.stdout
