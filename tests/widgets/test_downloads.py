"""What a run produced can be taken away, as soon as it is there and as it is then."""

import csv
import io
import zipfile
from typing import Any

import pytest

from dfkd_lab import RunFolder
from tests.support import events_of
from widgets import downloads, exporting

pytestmark = pytest.mark.slow


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], bytes]]:
    """What the kernel sends."""
    found: list[tuple[dict[str, Any], bytes]] = []
    monkeypatch.setattr(
        downloads.Downloads, "send", lambda self, message, buffers=(b"",): found.append((message, *buffers))
    )
    return found


def test_what_is_clicked_is_sent_to_who_clicked(make_folder: Any, sent: list[tuple[dict[str, Any], bytes]]) -> None:
    folder: RunFolder = make_folder("done")
    links = downloads.Downloads()
    links.attach(folder)
    assert links.files == ["student.safetensors", "report.html", "rounds.csv"]
    for number, name in enumerate(links.files):
        links._answer(links, {"name": name, "id": number}, [])
    assert [message for message, _ in sent] == [
        {"id": number, "name": f"done-{name}"} for number, name in enumerate(links.files)
    ]
    student, page, table = (content for _, content in sent)
    assert student == (folder.path / "student.safetensors").read_bytes()
    assert b"<h1>" in page
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    events = events_of(folder)
    assert [int(row["round"]) for row in rows] == [event["round"] for event in events]
    assert [float(row["accuracy"]) for row in rows] == [event["accuracy"] for event in events]
    assert float(rows[-1]["cost.images"]) == events[-1]["cost"]["images"]
    assert {f"terms.{name}" for name in events[0]["terms"]} <= rows[0].keys()


def test_only_what_is_there_is_offered_and_nothing_else_is_sent(
    make_folder: Any, sent: list[tuple[dict[str, Any], bytes]]
) -> None:
    folder: RunFolder = make_folder("done")
    (folder.path / "student.safetensors").rename(folder.path / "aside")
    links = downloads.Downloads()
    assert links.files == []
    links.attach(folder)
    assert links.files == ["report.html", "rounds.csv"]
    for name in ("student.safetensors", "../spec.yaml", "spec.yaml"):
        links._answer(links, {"name": name, "id": 1}, [])
    assert not sent
    (folder.path / "aside").rename(folder.path / "student.safetensors")
    links.refresh()
    assert "student.safetensors" in links.files
    assert "export.zip" not in links.files
    links.attach(None)
    assert links.files == []


def test_a_file_that_cannot_be_made_is_a_sentence(make_folder: Any, sent: list[tuple[dict[str, Any], bytes]]) -> None:
    folder: RunFolder = make_folder("done")
    links = downloads.Downloads()
    links.attach(folder)
    folder.sample(2).with_suffix(".json").write_text("{")
    (folder.path / "student.safetensors").unlink()
    for name in ("report.html", "student.safetensors"):
        links._answer(links, {"name": name, "id": 7}, [])
        (message, content), *_ = sent
        assert (message["id"], content) == (7, b"")
        assert message["refused"].startswith(f"{name} cannot be made: ")
        sent.clear()


def test_an_export_is_made_by_a_button_and_taken_away(
    make_folder: Any, sent: list[tuple[dict[str, Any], bytes]]
) -> None:
    folder: RunFolder = make_folder("done")
    shown, links = exporting.Exporting(), downloads.Downloads()
    assert shown.widget.layout.display == "none"
    shown.attach(folder)
    links.attach(folder)
    assert shown.widget.layout.display is None
    for name, box in shown.boxes.items():
        box.value = name == "safetensors"
    shown.button.click()
    assert shown.button.disabled
    shown.attach(None)
    shown.attach(make_folder("other"))
    assert not shown.button.disabled
    assert not shown.message.value
    shown.attach(folder)
    assert shown.button.disabled, "its own export is still on"
    shown.command.children[folder.path].wait()
    shown.refresh()
    assert not shown.button.disabled
    assert "model.safetensors: " in shown.message.value
    links.refresh()
    links._answer(links, {"name": "export.zip", "id": 1}, [])
    ((_, content),) = sent
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert sorted(archive.namelist()) == [
            f"done/{name}" for name in ("README.md", "config.json", "model.safetensors", "parity.json")
        ]


def test_why_an_export_was_refused_is_said(make_folder: Any) -> None:
    folder: RunFolder = make_folder("done")
    shown = exporting.Exporting()
    shown.attach(folder)
    for box in shown.boxes.values():
        box.value = False
    shown.button.click()
    shown.command.children[folder.path].wait()
    shown.refresh()
    assert "names no format" in shown.message.value
    assert "role='alert'" in shown.message.value


def test_any_name_of_a_folder_is_exported_and_one_that_is_gone_is_said(
    make_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder: RunFolder = make_folder("done")
    monkeypatch.chdir(folder.path.parent)
    folder = RunFolder(folder.path.rename("-x"))
    shown = exporting.Exporting()
    shown.attach(folder)
    shown.boxes["onnx"].value = False
    shown.button.click()
    shown.command.children[folder.path].wait()
    shown.refresh()
    assert "model.safetensors: " in shown.message.value
    (folder.path / "spec.yaml").unlink()
    shown.button.click()
    assert "is not a run folder" in shown.message.value
