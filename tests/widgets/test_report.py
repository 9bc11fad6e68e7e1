import json
import re
from collections.abc import Callable
from pathlib import Path

from dfkd_lab import RunFolder
from tests.support import events_of
from widgets import report

HOSTILE = "<img src=x onerror=alert(1)>"
SECTIONS = ["Student and teacher", "Synthetic images", "Health, without labels", "Losses", "Cost", "Settings",
            "Certainty", "Data-free seal", "Provenance"]  # fmt: skip


def without_plotly(page: str) -> str:
    return re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)


def test_the_report_is_one_file_that_needs_no_network(finished: RunFolder) -> None:
    page = report.page(finished)
    assert not re.search(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=[\"']?(?:https?:)?//", page)
    assert len(re.findall(r"plotly\.js v", page)) == 1
    assert '"showSendToCloud": false' in page
    assert "data:image/png;base64," in page


def test_every_section_and_headline_is_there(finished: RunFolder) -> None:
    page = without_plotly(report.page(finished))
    for title in SECTIONS:
        assert f"<h2>{title}</h2>" in page
    result = finished.result()
    for number in (result["last"], result["teacher"], result["agreement"], result["mu"], result["sigma"]):
        assert f"<dd>{number:.3f}</dd>" in page
    assert "oracle" in page
    assert finished.manifest()["method"]["certainty"].replace("'", "&#x27;") in page
    assert "was watched in 2 of 2 rounds, and read no real data in a way that the seal sees" in page
    assert "databases opened by sqlite3" in page
    assert "what other code does between rounds" in page
    assert finished.manifest()["sessions"][-1]["commit"] in page


def test_what_a_file_says_is_escaped(make_folder: Callable[[str], RunFolder]) -> None:
    folder = make_folder("hostile")
    manifest = folder.manifest()
    manifest["method"] = {"name": HOSTILE, "certainty": HOSTILE}
    manifest["teacher"] |= {"name": HOSTILE, "recipe": HOSTILE}
    (folder.path / "manifest.json").write_text(json.dumps(manifest))
    event = events_of(folder)[-1] | {"alarms": [HOSTILE], "terms": {HOSTILE: 1.0}}
    event["round"] += 1
    with (folder.path / "events.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")
    assert HOSTILE not in report.page(folder)


def test_a_run_without_data_and_without_a_round_has_a_report(tmp_path: Path) -> None:
    from dfkd_lab import plan, prepare

    folder = prepare(plan(method="dafl", data="none", out=str(tmp_path / "new")))
    path = report.write(folder)
    assert path.name == "report.html"
    assert "not measured" in path.read_text()
