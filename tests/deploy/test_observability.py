"""The profile ``observability``: what it starts, how it is closed in, and what its files say."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.identity import SERVICES

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROFILE = {name: part for name, part in COMPOSE["services"].items() if part.get("profiles") == ["observability"]}
GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARDS = [json.loads(file.read_text()) for file in sorted((GRAFANA / "dashboards").glob("*.json"))]


def read(*path: str) -> Any:
    return yaml.safe_load(ROOT.joinpath("deploy", *path).read_text())


def test_it_starts_what_takes_in_keeps_judges_and_shows() -> None:
    assert set(PROFILE) == {"collector", "jaeger", "prometheus", "alertmanager", "grafana"}


@pytest.mark.parametrize("name", PROFILE)
def test_each_part_is_closed_in_as_the_services_are_and_pinned_to_a_version(name: str) -> None:
    part = PROFILE[name]
    assert part["read_only"] is True
    assert part["cap_drop"] == ["ALL"]
    assert part["security_opt"] == ["no-new-privileges:true"]
    assert part["pids_limit"] > 0
    assert part["mem_limit"]
    assert part["user"].partition(":")[0] not in ("root", "0")
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", part["image"])


def test_only_grafana_can_be_reached_from_outside_and_only_from_this_machine() -> None:
    published = {name: part["ports"] for name, part in PROFILE.items() if "ports" in part}
    assert published == {"grafana": ["127.0.0.1:${CONCORD_GRAFANA_PORT:-3000}:3000"]}


def test_what_a_part_reads_is_there_and_cannot_be_written_by_it() -> None:
    for name, part in PROFILE.items():
        for volume in part["volumes"]:
            if volume.startswith("."):
                source, _, mode = volume.split(":")
                assert (ROOT / source).is_dir(), f"{name}: {source}"
                assert mode == "ro", f"{name}: {source}"


def test_no_password_stands_in_a_file_of_the_repository() -> None:
    assert "GF_SECURITY_ADMIN_PASSWORD__FILE" in PROFILE["grafana"]["environment"]
    assert "GF_SECURITY_ADMIN_PASSWORD" not in PROFILE["grafana"]["environment"]
    assert "grafana-password:/platform/grafana:ro" in PROFILE["grafana"]["volumes"]
    assert "grafana-password:/platform/grafana" in COMPOSE["services"]["init"]["volumes"]


def test_prometheus_asks_every_replica_of_every_service() -> None:
    (job,) = read("prometheus", "prometheus.yml")["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert sorted(found["names"]) == sorted(SERVICES)
    assert str(found["port"]) == COMPOSE["x-environment"]["CONCORD_HEALTH_PORT"]
    assert job["relabel_configs"] == [{"source_labels": ["__meta_dns_name"], "target_label": "service"}]


def test_spans_go_from_the_services_to_the_collector_to_jaeger_to_grafana() -> None:
    collector, jaeger = read("collector", "collector.yml"), read("jaeger", "jaeger.yml")
    told = re.search(r"CONCORD_TRACE_ENDPOINT=http://collector:(\d+)", (ROOT / ".env.example").read_text())
    assert told
    assert collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(f":{told[1]}")
    sent_to = collector["exporters"]["otlp"]["endpoint"]
    assert sent_to.startswith("jaeger:")
    assert jaeger["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].endswith(sent_to.removeprefix("jaeger"))
    for config in (collector, jaeger):
        for pipeline in config["service"]["pipelines"].values():
            for kind, names in pipeline.items():
                assert set(names) <= set(config[kind]), kind
    shown = {
        source["uid"]: source["url"]
        for source in read("grafana", "provisioning", "datasources", "concord.yml")["datasources"]
    }
    assert (
        jaeger["extensions"]["jaeger_query"]["http"]["endpoint"].rpartition(":")[2]
        == shown["jaeger"].rpartition(":")[2]
    )
    assert set(shown) == {"prometheus", "alertmanager", "jaeger"}
    assert {url.removeprefix("http://").partition(":")[0] for url in shown.values()} <= set(PROFILE)


def test_the_dashboards_are_where_grafana_looks_for_them() -> None:
    (provider,) = read("grafana", "provisioning", "dashboards", "concord.yml")["providers"]
    mounted = {volume.split(":")[1] for volume in PROFILE["grafana"]["volumes"]}
    assert provider["options"]["path"] in mounted
    assert {board["title"] for board in DASHBOARDS} == {"Concord", "Concord service"}
    assert len({board["uid"] for board in DASHBOARDS}) == len(DASHBOARDS)


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board["title"])
def test_every_panel_says_what_it_shows_and_in_which_unit(board: dict[str, Any]) -> None:
    assert len(board["panels"]) <= 12
    for panel in board["panels"]:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"prometheus"}
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])
