"""The page of a profile: it loads nothing from elsewhere, and shows the findings and figures that there are."""

import re

import pytest

from gcdp.experiments.profile import load_profile
from gcdp.reporting import page
from gcdp.reporting.findings import ABSENT, finding_rows
from gcdp.reporting.plotting import panels, save_figure

EFFECT = {"effect": {"value": 0.2, "low": 0.1, "high": 0.3, "n": 9, "seeds": 5}}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setattr("gcdp.experiments.profile.repository_root", lambda: tmp_path)
    return load_profile("smoke")


@pytest.fixture(autouse=True)
def _smoke(monkeypatch):
    monkeypatch.setattr(page, "commit", lambda: "0123abc+")


def written(settings, records):
    rows = finding_rows(records, ("streets", "faces"))
    return page.write_page(settings.results_folder() / "report.html", settings, rows).read_text(encoding="utf-8")


def test_a_page_of_a_run_holds_its_findings_and_its_figures(settings):
    save_figure(panels(1, 1)[0], settings.results_folder("figures"), "claim_streets")
    text = written(settings, {"claim": {"streets": EFFECT}})
    assert "+0.200 [+0.100, +0.300]" in text and 'class="holds">reproduced<' in text
    assert re.findall(r'<img src="(data:image/png;base64,)', text) == ["data:image/png;base64,"]
    assert "Does it follow the text?" in text and "Inside the network" not in text
    assert "0123abc+" in text and "torch" in text


def test_nothing_is_loaded_from_elsewhere(settings):
    text = written(settings, {"claim": {"streets": EFFECT}})
    assert not re.search(r"""(src|href)=["'](?!data:)|@import|url\(""", text)


def test_a_profile_without_measurements_says_so(settings):
    text = written(settings, {})
    assert "<li>not measured here</li>" in text and text.count(f'class="absent">{ABSENT}<') > 20


def test_seconds_of_notebooks_are_summed(settings):
    folder = settings.results_folder("seconds")
    for name, seconds in (("a", 60.0), ("b", 120.0)):
        (folder / f"{name}.json").write_text(f'{{"seconds": {seconds}}}')
    assert "3 minutes for 2 notebooks" in written(settings, {})
