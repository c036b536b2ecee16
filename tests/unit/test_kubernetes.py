"""deploy/kubernetes: every resource is what Kubernetes takes, every patch changes something, and limits agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from striate_service.backends.local.cgroup import Allowance
from striate_service.backends.local.devices import choose_devices
from striate_service.config import Settings, load

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOT = DEPLOY / "kubernetes"
FOLDERS = sorted(file.parent for file in ROOT.rglob("kustomization.yaml"))
OF_OPERATORS = "monitoring.coreos.com/"
"""Kinds that Kubernetes does not have by itself."""


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def kustomization(folder: Path) -> dict[str, Any]:
    (only,) = documents(folder / "kustomization.yaml")
    return only


def resources() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (folder / name for name in kustomization(folder).get("resources", []) if name.endswith(".yaml"))


def patches() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (folder / patch["path"] for patch in kustomization(folder).get("patches", []))


def deployment() -> dict[str, Any]:
    return documents(ROOT / "base" / "deployment.yaml")[0]


def without_nothing(value: Any) -> Any:
    """Leave out what a patch takes away."""
    if isinstance(value, dict):
        return {key: without_nothing(each) for key, each in value.items() if each is not None}
    return [without_nothing(each) for each in value] if isinstance(value, list) else value


def merged(base: Any, patch: Any) -> Any:
    """Apply a strategic merge patch to what these patches touch: mappings, and lists of what has a name."""
    if isinstance(base, dict) and isinstance(patch, dict):
        both = base | {key: merged(base.get(key), each) for key, each in patch.items()}
        return without_nothing(both)
    if isinstance(base, list) and isinstance(patch, list) and all("name" in each for each in (*base, *patch)):
        named = {each["name"]: each for each in base}
        for each in patch:
            named[each["name"]] = merged(named.get(each["name"]), each)
        return list(named.values())
    return patch


def test_every_file_is_part_of_something() -> None:
    used = {path.resolve() for path in (*resources(), *patches())}
    used |= {folder / "kustomization.yaml" for folder in FOLDERS}
    assert set(ROOT.rglob("*.yaml")) == used
    for folder in FOLDERS:
        described = kustomization(folder)
        for other in (*described.get("components", []), *described.get("resources", [])):
            assert (folder / other).exists(), other
        for generated in described.get("configMapGenerator", []):
            assert all((folder / name).is_file() for name in generated["files"])


@pytest.mark.parametrize("path", list(resources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_resources_are_what_kubernetes_takes(path: Path) -> None:
    for resource in documents(path):
        if not resource["apiVersion"].startswith(OF_OPERATORS):
            kubernetes_validate.validate(resource, desired_version="1.31", strict=True)


@pytest.mark.parametrize("path", list(patches()), ids=lambda path: str(path.relative_to(ROOT)))
def test_patches_fit_the_base(path: Path) -> None:
    base = deployment()
    for patch in documents(path):
        assert (patch["kind"], patch["metadata"]["name"]) == (base["kind"], base["metadata"]["name"])
        pod, patched = base["spec"]["template"]["spec"], patch["spec"].get("template", {}).get("spec", {})
        names = {container["name"] for container in pod["containers"]}
        assert {container["name"] for container in patched.get("containers", [])} <= names
        result = merged(base, patch)
        assert result != base
        kubernetes_validate.validate(result, desired_version="1.31", strict=True)


@pytest.mark.parametrize("overlay", sorted((ROOT / "overlays").iterdir()), ids=lambda folder: folder.name)
def test_overlays_mount_what_they_name(overlay: Path) -> None:
    result = deployment()
    for component in kustomization(overlay).get("components", []):
        folder = (overlay / component).resolve()
        for patch in kustomization(folder).get("patches", []):
            (change,) = documents(folder / patch["path"])
            result = merged(result, change)
    kubernetes_validate.validate(result, desired_version="1.31", strict=True)
    pod = result["spec"]["template"]["spec"]
    volumes = [volume["name"] for volume in pod["volumes"]]
    assert len(set(volumes)) == len(volumes)
    for container in (*pod["initContainers"], *pod["containers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
        for variable in container.get("env", []):
            assert variable["name"].removeprefix("STRIATE_").lower() in Settings.model_fields
            places = [mount["mountPath"] for mount in container["volumeMounts"]]
            if "value" in variable:
                assert any(variable["value"].startswith(place) for place in places)


def test_settings_agree_with_the_deployment(tmp_path: Path) -> None:
    settings = load(ROOT / "base" / "striate.toml", home=tmp_path)
    pod = deployment()["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > settings.drain_delay + settings.drain_timeout
    (container,) = pod["containers"]
    assert settings.drain_delay >= 2 * container["readinessProbe"]["periodSeconds"]
    limits = container["resources"]["limits"]
    cpus, memory = float(limits["cpu"]), int(limits["memory"].removesuffix("Gi")) * 2**30
    workers = choose_devices("auto", settings.max_task_bytes, allowed=Allowance(cpus, memory), cores=64, gpus=0)
    assert len(workers) == cpus
    assert {port["containerPort"] for port in container["ports"]} == {settings.port, settings.metrics_port}


def test_the_rules_are_those_of_prometheus() -> None:
    (rules,) = documents(ROOT / "components" / "monitoring" / "rules.yaml")
    assert rules["spec"] == documents(DEPLOY / "prometheus" / "alerts.yml")[0]
