"""The manifests of deploy/kubernetes: built by kubectl, valid by Kubernetes' own schemas, and true to the code.

Skipped, and said so, where there is no kubectl. No cluster is needed, and none is reached.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from deploy.deployment import prepare
from shared.cluster import ROUTE_PORT
from shared.health import _answer
from shared.identity import SERVICES
from shared.service import STOP_WITHIN
from shared.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("small", "three-zones")
VERSION = "1.32"
"""Of Kubernetes, whose schemas the manifests are held to; they use nothing that is newer."""
CUSTOM = {"ScaledObject"}
"""Kinds of the tools that must be installed; Kubernetes has no schema of them."""

WHY_NOT = "" if shutil.which("kubectl") else "there is no kubectl on this machine"
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"deploy/kubernetes WAS NOT BUILT: {WHY_NOT}")

Resource = dict[str, Any]


def built(directory: Path) -> list[Resource]:
    done = subprocess.run(["kubectl", "kustomize", directory], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@cache
def overlay(name: str) -> list[Resource]:
    return built(KUBERNETES / "overlays" / name)


def of_kind(name: str, kind: str) -> dict[str, Resource]:
    return {each["metadata"]["name"]: each for each in overlay(name) if each["kind"] == kind}


def pods(name: str) -> Iterator[tuple[str, Resource]]:
    for each in overlay(name):
        if each["kind"] in ("Deployment", "StatefulSet"):
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def containers(name: str) -> Iterator[tuple[str, Resource]]:
    for owner, pod in pods(name):
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            yield f"{owner} {container['name']}", container


def settings_of(name: str, service: str) -> dict[str, Any]:
    container = of_kind(name, "Deployment")[service]["spec"]["template"]["spec"]["containers"][0]
    return {each["name"]: each.get("value") for each in container["env"]}


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_is_built_is_valid(name: str) -> None:
    for resource in overlay(name):
        if resource["kind"] not in CUSTOM:
            kubernetes_validate.validate(resource, VERSION, strict=True)


@pytest.mark.parametrize("name", OVERLAYS)
def test_everything_is_in_the_namespace_that_takes_only_restricted_pods(name: str) -> None:
    (namespace,) = of_kind(name, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {r["metadata"].get("namespace") for r in overlay(name) if r["kind"] != "Namespace"} == {"concord"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_container_runs_as_root_or_could_become_it(name: str) -> None:
    for owner, pod in pods(name):
        assert pod["securityContext"]["runAsNonRoot"] is True, owner
        assert pod["securityContext"]["runAsUser"] > 0, owner
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, owner
        assert pod["automountServiceAccountToken"] is False, owner
    for owner, container in containers(name):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, owner
        assert container["resources"]["limits"]["memory"], owner
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}, owner


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_service_runs_its_own_program_from_the_one_image_with_secrets_of_its_own(name: str) -> None:
    deployments = of_kind(name, "Deployment")
    assert deployments.keys() == set(SERVICES)
    for service, deployment in deployments.items():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["containers"][0]["command"] == ["python3", "-m", f"services.{service}.main"]
        assert (ROOT / "services" / service / "main.py").is_file()
        assert {c["image"] for c in (*pod["initContainers"], *pod["containers"])} == {
            "registry.example.org/concord:0.1.0"
        }
        mounted = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
        assert mounted == {service, "postgres"}
        assert deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] == service
        assert of_kind(name, "PodDisruptionBudget")[service]["spec"]["selector"] == deployment["spec"]["selector"]


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_told_only_what_there_is_a_setting_for(
    name: str, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = settings_of(name, service)
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    assert {each for each in told if each.startswith(PREFIX)} <= known
    creds = tmp_path / "service.creds"
    creds.touch()
    for variable, value in told.items():
        if value is not None:
            given = str(creds) if value == "/platform/own/service.creds" else value
            monkeypatch.setenv(variable, given.replace("$(POSTGRES_ADDRESS)", "db.example.org:5432"))
    read = Settings.from_environment()
    assert f"{service}@db.example.org:5432/{service}?" in read.store
    assert "sslmode=verify-full" in read.store


@pytest.mark.parametrize(("name", "servers"), [("small", 1), ("three-zones", 3)])
def test_services_know_every_nats_server_there_is_and_ask_for_as_many_copies(name: str, servers: int) -> None:
    nats = of_kind(name, "StatefulSet")["nats"]
    assert nats["spec"]["replicas"] == servers
    assert nats["spec"]["podManagementPolicy"] == "Parallel"  # the first start takes all of them
    service = of_kind(name, "Service")["nats"]
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert {port["port"] for port in service["spec"]["ports"]} == {4222, ROUTE_PORT}
    for each in SERVICES:
        told = settings_of(name, each)
        assert told["CONCORD_NATS"] == ",".join(f"nats://nats-{n}.nats:4222" for n in range(servers))
        assert told["CONCORD_STREAM_REPLICAS"] == str(servers)


@pytest.mark.parametrize("name", OVERLAYS)
def test_probes_ask_what_the_service_answers_and_a_clean_stop_has_time(name: str) -> None:
    for service in SERVICES:
        pod = of_kind(name, "Deployment")[service]["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] >= 2 * STOP_WITHIN
        (container,) = pod["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            assert str(ports[asked["port"]]) == settings_of(name, service)["CONCORD_HEALTH_PORT"]
            status, _ = _answer("GET", asked["path"], lambda: ())
            assert status == 200, asked
        assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
        assert container["livenessProbe"]["httpGet"]["path"] == "/alive"  # or an outage of NATS restarts everything


@pytest.mark.parametrize("name", OVERLAYS)
def test_nobody_talks_to_anybody_but_services_to_nats_and_postgresql(name: str) -> None:
    policies = of_kind(name, "NetworkPolicy")
    everything_closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert policies["nobody"]["spec"] == everything_closed
    reached = [port["port"] for rule in policies["services"]["spec"]["egress"] for port in rule["ports"]]
    assert reached == [4222, 5432]
    selected = policies["services"]["spec"]["podSelector"]["matchLabels"]
    for deployment in of_kind(name, "Deployment").values():
        assert selected.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_a_service_that_falls_behind_becomes_more_by_a_metric_that_tells_each_consumer_once() -> None:
    """KEDA's own schema is not at hand: the names are those of its documentation for keda.sh/v1alpha1."""
    scaled = of_kind("three-zones", "ScaledObject")
    deployments = of_kind("three-zones", "Deployment")
    assert scaled.keys() == set(SERVICES)
    for service, each in scaled.items():
        assert each["apiVersion"] == "keda.sh/v1alpha1"
        spec = each["spec"]
        assert spec.keys() == {
            "scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod", "fallback",
            "triggers",
        }  # fmt: skip
        assert spec["scaleTargetRef"] == {"kind": "Deployment", "name": service}
        assert "replicas" not in deployments[service]["spec"]  # or each apply undoes what was scaled
        (trigger,) = spec["triggers"]
        assert trigger["type"] == "prometheus"
        assert trigger["metadata"].keys() == {"serverAddress", "query", "threshold"}
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        assert f'pod=~"{service}-.+"' in trigger["metadata"]["query"]
        assert "max by (messaging_destination_name) (concord_consumer_lag{" in trigger["metadata"]["query"]


def test_no_secret_is_in_the_repository() -> None:
    manifests = [path for path in KUBERNETES.rglob("*.yaml") if "platform" not in path.parts]
    assert len(manifests) > 10
    for path in manifests:
        text = path.read_text()
        assert "kind: Secret" not in text, path
        assert not re.search(r"BEGIN |password:|:[^/@\s]+@", text), path


def test_secrets_are_made_of_what_init_wrote_and_the_keys_of_the_platform_stay_out(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    shutil.copytree(KUBERNETES / "secrets", directory, ignore=shutil.ignore_patterns("platform"))
    platform, passwords = directory / "platform", tmp_path / "passwords"
    passwords.mkdir()
    for service in SERVICES:
        (passwords / f"{service}.password").write_text(f"of {service}")
    prepare(
        platform,
        nats="nats://127.0.0.1:4222",
        postgres="db.example.org:5432",
        streams=Path("/data"),
        cluster=[f"nats-{number}.nats" for number in range(3)],
        passwords=passwords,
    )
    (platform / "postgres-address").write_text("db.example.org:5432")
    (platform / "ca.crt").write_text("a certificate")
    secrets = {each["metadata"]["name"]: each for each in built(directory)}
    for secret in secrets.values():
        kubernetes_validate.validate(secret, VERSION, strict=True)
    wanted = {
        volume["secret"]["secretName"]: None
        for _, pod in pods("three-zones")
        for volume in pod["volumes"]
        if "secret" in volume
    }
    assert secrets.keys() == wanted.keys()
    assert secrets["events"]["data"].keys() == {"service.creds", "pgpass"}
    assert secrets["postgres"]["data"].keys() == {"address", "ca.crt"}
    everything = json.dumps(list(secrets.values()))
    for key in (platform / "operator" / "keys").iterdir():
        assert key.read_text().strip() not in everything
