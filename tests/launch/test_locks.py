"""The three locks agree with setup.cfg and hold nothing that ties them to one machine."""

import configparser
import pathlib
import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13")
EXTRAS = {
    *("metaworld", "sim", "torch", "text", "hdf5", "video"),
    *("tpu", "gpu", "convert", "wandb", "colab", "test"),
}


def requirements() -> dict[str, list[Requirement]]:
    """Each extra's requirements, and the base's under ''."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {
        extra: [Requirement(line) for line in text.splitlines() if line and line[0] != "#"]
        for extra, text in texts.items()
    }


def lock(python: str) -> list[str]:
    return (ROOT / f"launch/locks/{python}.txt").read_text().splitlines()


def pins(python: str) -> dict[str, str]:
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lock(python)}


def test_setup_cfg_has_the_extras():
    assert set(requirements()) - {""} == EXTRAS


@pytest.mark.parametrize("python", PYTHONS)
def test_a_lock_is_names_and_versions_only(python):
    lines = lock(python)
    strange = [s for s in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", s)]
    assert not strange, "a local version, hash, path, option or marker"
    assert "torch==2.13.0" in lines
    assert not any(line.startswith("tensorflow==") for line in lines)


@pytest.mark.parametrize("python", PYTHONS)
def test_a_lock_pins_every_requirement_within_its_range(python):
    versions = pins(python)
    for extra, wanted in requirements().items():
        for requirement in wanted:
            version = versions.get(canonicalize_name(requirement.name))
            assert version is not None, f"[{extra}] {requirement} is not pinned"
            assert requirement.specifier.contains(version), f"[{extra}] {requirement}: {version}"


@pytest.mark.parametrize("python", PYTHONS)
def test_a_lock_pins_what_the_scripts_add(python):
    versions = pins(python)
    assert {"lavavu-osmesa", "pip", "setuptools", "wheel"} <= set(versions)
    assert versions["opencv-python"] == versions["opencv-python-headless"]
