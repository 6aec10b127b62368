"""Paths in a config mean a file of the working folder first, then one of the workflow's own folder."""

import copy

import pytest

from lib.data.config_files import has_parts, local_files, located, model_sources, with_files_found
from lib.step.errors import UserError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The workflow's folder, which holds a.names and a.pt; the working folder, another one, holds b.names."""
    home, work = tmp_path / "home", tmp_path / "work"
    for path in (home / "a.names", home / "a.pt", work / "b.names"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(work)
    return home


def test_a_path_is_located_in_the_working_folder_first(home):
    assert located("b.names", home) == "b.names"
    assert located("a.names", home) == str(home / "a.names")
    assert located("nowhere.names", home) == "nowhere.names"
    (home / "b.names").touch()
    assert located("b.names", home) == "b.names"


def config(names):
    """A config with one model of each kind."""
    return {
        "dataset": {"archive": ["drawn", "https://example.org/a.zip", "a.pt"], "names": names},
        "models": {"m": {"weights": ["a.pt", "no.pt"]}, "n": {"weights": [], "cfg": ["a.pt"], "names": "a.names"}},
        "verdict": {"measured": "a.names"},
    }


def test_every_path_of_a_config_is_located_and_nothing_else_touched(home):
    given = config(["car", "a.pt"])
    before = copy.deepcopy(given)
    found, (here, names) = with_files_found(given, home), (str(home / "a.pt"), str(home / "a.names"))
    assert given == before
    assert found == {
        "dataset": {"archive": ["drawn", "https://example.org/a.zip", here], "names": ["car", "a.pt"]},
        "models": {"m": {"weights": [here, "no.pt"]}, "n": {"weights": [], "cfg": [here], "names": names}},
        "verdict": {"measured": names},
    }


def test_a_missing_file_of_names_is_told(home):
    with pytest.raises(UserError, match=r"names: there is no file c\.names; name one, or give a list$"):
        with_files_found(config("c.names"), home)


@pytest.mark.parametrize("measured", ["nosuch.csv", "."])
def test_a_missing_file_of_measured_times_is_told_with_all_others(home, measured):
    given = config("c.names") | {"verdict": {"measured": measured}}
    with pytest.raises(UserError) as error:
        with_files_found(given, home)
    assert str(error.value) == (
        "the config is not usable:\n  names: there is no file c.names; name one, or give a list\n"
        f"  verdict.measured: there is no file {measured}; name one, or leave the key out"
    )


def test_local_files_are_those_that_are_here_and_the_images_that_the_run_draws(home):
    sources = ["drawn", "b.names", "nowhere.zip", "http://example.org/b.names"]
    assert local_files(sources, "results/r/drawn") == ["results/r/drawn", "b.names"]


def test_sources_of_a_model_are_all_its_files():
    assert model_sources({"weights": ["a.pt"]}) == ["a.pt"]
    darknet = {"weights": ["a.weights", "b.weights"], "cfg": ["a.cfg"], "names": "a.names"}
    assert model_sources(darknet) == ["a.weights", "b.weights", "a.cfg", "a.names"]
    assert model_sources(darknet | {"names": ["car", "bus"]}) == ["a.weights", "b.weights", "a.cfg"]


def test_a_single_json_of_coco_has_no_parts():
    """A large set is not fetched again for another number of calibration images."""
    assert not has_parts({"coco": "a/instances.json", "images": "images"})
    assert not has_parts({"archive": ["a.zip"], "coco": "a/instances.json"})
    assert not has_parts({"images": "frames"}) and has_parts({"archive": ["a.zip"]})
    assert has_parts({"coco": "mine.coco.zip"}) and has_parts({"coco": "a.json", "calibration": {"images": "b"}})
