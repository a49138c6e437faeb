"""Plugins are found without importing them; a broken one says why and stops nobody else."""

from __future__ import annotations

import pytest

from bindspace.contract import registry
from bindspace.contract.errors import PluginError

GOOD = """
from dataclasses import dataclass
from bindspace import ModalityConfig
@dataclass(kw_only=True)
class {name}Config(ModalityConfig):
    modality = "{modality}"
    expects = "something"
    sizes = {sizes}
    layers: int = 2
"""


def source(name: str, modality: str, sizes: str = "{}") -> str:
    """A plugin that does nothing, but keeps the contract."""
    return GOOD.format(name=name, modality=modality, sizes=sizes)


def test_the_six_modalities_come_in_by_the_door_of_strangers():
    names = ["audio", "depth", "image", "imu", "text", "thermal"]
    assert [name for name in registry.installed() if name in names] == names
    for name in names:
        assert registry.load(name).modality == name
        assert registry.implementation(registry.load(name)) == name


def test_listing_imports_no_plugin(install):
    install("bindspace-loud", {"bindspace_loud/__init__.py": "raise SystemError('imported')"}, loud="bindspace_loud:X")
    assert registry.installed()["loud"][0].package == "bindspace-loud"


def test_an_unknown_name_is_answered_with_the_closest_one_and_the_list():
    with pytest.raises(PluginError, match=r"unknown modality 'audoi': did you mean 'audio'\? \(available: audio, "):
        registry.find("audoi")
    with pytest.raises(PluginError, match=r"unknown data set 'wrold': did you mean 'world'"):
        registry.find("wrold", registry.DATASETS)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "import nowhere",
            "plugin 'bad' of bindspace-bad does not load: ModuleNotFoundError: No module named 'nowhere'",
        ),
        ("1 / 0", "plugin 'bad' of bindspace-bad does not load: ZeroDivisionError"),
        ("", "does not load: AttributeError"),
        ("class BadConfig: pass", "is not a dataclass: put @dataclass"),
        (source("Bad", "bad").replace("@dataclass(kw_only=True)", ""), "is not a dataclass: put @dataclass"),
        (source("Bad", "bad") + "    contract = 9", "contract 9, this bindspace supports contract 1: look for a newer"),
        (source("Bad", "bad").replace('expects = "something"', ""), "does not set the class variable `expects`"),
        (source("Bad", "Bad One"), "serves the modality 'Bad One': a name is lower-case"),
        (source("Bad", "bad", "{'huge': {'layers': 3}}"), "has a wrong `sizes`: unknown size 'huge'"),
        (source("Bad", "bad", "{'base': {'layer': 3}}"), "unknown setting 'layer': did you mean 'layers'"),
        ("from dataclasses import dataclass\n@dataclass\nclass BadConfig: contract = 1", "is not a ModalityConfig"),
    ],
)
def test_a_plugin_that_breaks_the_contract_says_how_and_stops_no_other(install, code, reason):
    install("bindspace-bad", {"bindspace_bad/__init__.py": code}, bad="bindspace_bad:BadConfig")
    with pytest.raises(PluginError) as error:
        registry.load("bad")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    loaded = [name for name, _ in registry.healthy()]
    assert "bad" not in loaded
    assert "audio" in loaded


def test_two_packages_with_one_name_are_both_named(install):
    for package in ("bindspace-one", "bindspace-two"):
        module = package.replace("-", "_")
        install(package, {f"{module}/__init__.py": source("Radar", "radar")}, radar=f"{module}:RadarConfig")
    with pytest.raises(
        PluginError, match=r"'radar' is claimed by bindspace-(one|two) and bindspace-(two|one): uninstall"
    ):
        registry.load("radar")


def test_an_implementation_and_its_presets_say_which_modality_they_serve(install):
    files = {
        "bindspace_ear/__init__.py": source("Ear", "audio"),
        "bindspace_ear/conf/modality/ear_wide.yaml": "# @package modality.audio\ndefaults: [ear, _self_]\nwidth: 999\n",
    }
    install("bindspace-ear", files, ear="bindspace_ear:EarConfig")
    assert registry.served("ear") == ("audio", "ear")
    assert registry.served("ear_wide") == ("audio", "ear")
    assert registry.presets()["ear_wide"][0].package == "bindspace-ear"
    with pytest.raises(PluginError, match=r"unknown modality 'ear_wid': did you mean 'ear_wide'"):
        registry.served("ear_wid")


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("lone", "# @package modality.audio\nwidth: 9\n", r"has no `defaults: \[<implementation>, _self_\]`: add it"),
        ("lone", "defaults: [ear, _self_]\nwidth: 9\n", r"does not begin with `# @package modality.<modality>`"),
        ("audio", "# @package modality.audio\ndefaults: [ear, _self_]\n", "has the name of an implementation: rename"),
    ],
)
def test_a_preset_that_would_let_typos_pass_is_refused(install, name, text, reason):
    files = {"bindspace_ear/__init__.py": source("Ear", "audio"), f"bindspace_ear/conf/modality/{name}.yaml": text}
    install("bindspace-ear", files, ear="bindspace_ear:EarConfig")
    with pytest.raises(PluginError, match=reason):
        registry.presets()[name][0].check()


def test_a_class_without_an_entry_point_has_no_implementation_name():
    class Stranger:
        pass

    with pytest.raises(PluginError, match=r"Stranger is not registered: add an entry point in the group"):
        registry.implementation(Stranger)
