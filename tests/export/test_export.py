"""A student leaves: what is written works without this library, and gives what the student gives, or is not there."""

import csv
import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from filelock import FileLock
from onnx import numpy_helper
from safetensors.torch import load_file

from dfkd_lab import RunError, RunFolder, SpecError, data, export, load_student, nets
from dfkd_lab.__main__ import main
from dfkd_lab.data import Split
from dfkd_lab.errors import DamagedFile
from dfkd_lab.export import Exported, destination, formats, graphs, int8, parity
from dfkd_lab.export.formats import Files
from dfkd_lab.export.parity import Parity, Row
from dfkd_lab.nets import python_file
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.primitives.batch import to_float
from dfkd_lab.runs import synthetic
from dfkd_lab.system.files import write_atomically
from tests.support import ROOT, events_of, fill_the_disk, own_file

pytestmark = pytest.mark.slow

Make = Callable[..., RunFolder]
ALONE = """
import sys

sys.modules["dfkd_lab"] = sys.modules["torch"] = None  # neither can be imported
import numpy
import onnxruntime

held_out = numpy.load(sys.argv[1])
student = onnxruntime.InferenceSession(sys.argv[2])
(logits,) = student.run(["logits"], {"image": held_out["images"]})
print((logits.argmax(1) == held_out["labels"]).sum())
"""


def spoiled(content: bytes) -> bytes:
    """An ONNX file with one weight of its last layer changed."""
    model = onnx.load_from_string(content)
    weight = max((each for each in model.graph.initializer if len(each.dims) == 2), key=lambda each: each.dims[1])
    values = numpy_helper.to_array(weight).copy()
    values[0, 0] += 1
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return model.SerializeToString()


@pytest.fixture
def no_tracing(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are those of the run's other export, which costs nothing."""
    monkeypatch.setattr(graphs, "trace", lambda *_: (None, 0))
    monkeypatch.setattr(graphs, "onnx_model", lambda *_: (exported.path / "model.onnx").read_bytes())
    monkeypatch.setattr(int8, "quantized", lambda *_: (exported.path / "model.int8.onnx").read_bytes())


def test_another_process_gets_as_many_digits_right_as_the_log_says(
    kept: RunFolder, exported: Exported, held_out: Split, tmp_path: Path
) -> None:
    file = tmp_path / "held_out.npz"
    np.savez(file, images=to_float(held_out.images).numpy(), labels=held_out.labels.numpy())
    words = [sys.executable, "-I", "-c", ALONE, str(file), str(exported.path / "model.onnx")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == round(events_of(kept)[-1]["accuracy"] * len(held_out.labels))


def test_every_file_is_there_and_was_held_against_the_student(exported: Exported) -> None:
    names = ["model.safetensors", "model.pt2", "model.onnx", "model.int8.onnx", "images"]
    assert list(exported.files) == names
    assert {each.name for each in exported.path.iterdir()} == {*names, "config.json", "parity.json", "README.md"}
    found = json.loads((exported.path / "parity.json").read_text())
    for name in names[:4]:
        row = found["files"][name]
        assert row["weights_compared_with"] == "those in checkpoint.pt, bit for bit"
        assert row["inputs"] == "32 of the 32 images that the run's memory kept; 224 images of uniform noise"
        assert row["packages"].keys() == {"onnx", "onnxscript", "onnxruntime"}
        assert row["commit"]
        assert [(each["batch"], each["images"]) for each in row["batches"]] == [(1, 8), (2, 16), (7, 56), (64, 256)]
        assert name == "model.int8.onnx" or (row["passed"] and row["relative_difference"] <= parity.TOLERANCE)
    assert "calibrated on 32 synthetic images" in found["files"]["model.int8.onnx"]["what"]
    onnx_bytes, int8_bytes = (found["files"][name]["bytes"] for name in names[2:4])
    assert int8_bytes < 0.7 * onnx_bytes


def test_a_graph_says_its_names_its_classes_and_takes_any_number_of_images(exported: Exported) -> None:
    model = onnx.load(exported.path / "model.onnx")
    ((image,), (logits,)) = model.graph.input, model.graph.output
    assert (image.name, logits.name) == ("image", "logits")
    sizes = [each.dim_param or each.dim_value for each in image.type.tensor_type.shape.dim]
    assert sizes == ["batch", 1, 16, 16]
    assert {each.domain for each in model.opset_import} == {""}
    (classes,) = [each.value for each in model.metadata_props if each.key == "classes"]
    assert json.loads(classes) == [str(number) for number in range(10)]


def test_no_file_says_where_it_was_made(exported: Exported) -> None:
    here = [str(ROOT).encode(), str(Path(torch.__file__).parent).encode(), str(exported.path.parent).encode()]
    with zipfile.ZipFile(exported.path / "model.pt2") as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    contents += [each.read_bytes() for each in exported.path.iterdir() if each.is_file()]
    assert not [place for content in contents for place in here if place in content]


def test_the_student_is_loaded_from_a_run_or_an_export(kept: RunFolder, exported: Exported) -> None:
    images = torch.rand(3, 1, 16, 16)
    of_run, of_export = load_student(kept.path), load_student(exported.path)
    assert not of_run.training
    assert not any(each.requires_grad for each in of_run.parameters())
    assert of_run(images).shape == (3, 10)
    assert torch.equal(of_run(images), of_export(images))
    with pytest.raises(SpecError, match="holds no student: neither"):
        load_student(exported.path / "images")


def test_a_hub_reads_the_files(kept: RunFolder, exported: Exported) -> None:
    config = json.loads((exported.path / "config.json").read_text())
    assert (config["architecture"], config["num_classes"], config["task"]) == ("convnet_8", 10, "classification")
    assert config["image"] == {"shape": [1, 16, 16], "range": [0, 1], "mean": [0.3053], "std": [0.3312]}
    net = nets.classifier(config["architecture"], 1, 10)
    net.load_state_dict(load_file(exported.path / "model.safetensors"))  # no prefix of a wrapper
    card = (exported.path / "README.md").read_text()
    _, head, body = card.split("---\n", 2)
    front = yaml.safe_load(head)
    assert front["pipeline_tag"] == "image-classification"
    assert {"data-free-knowledge-distillation", "ssd_kd", "onnx", "safetensors"} <= set(front["tags"])
    assert "license" not in front
    (metric,) = front["model-index"][0]["results"][0]["metrics"]
    assert metric["value"] == pytest.approx(events_of(kept)[-1]["accuracy"], abs=1e-6)
    manifest = kept.manifest()
    for said in (manifest["teacher"]["sha256"], "inferred", "(n = 1 seed)", "oracle", "not stated by whoever exported",
                 "was watched in 2 of 2 rounds", "what was not watched", "not a reproduction"):  # fmt: skip
        assert said in body, said


def test_the_images_are_a_data_set_by_the_teachers_class(exported: Exported) -> None:
    folder = exported.path / "images"
    rows = list(csv.DictReader(io.StringIO((folder / "labels.csv").read_text())))
    assert len(rows) == 32
    assert all(0.1 <= float(row["confidence"]) <= 1 for row in rows)
    assert all((folder / row["file"]).parent.name == row["class"] for row in rows)
    read = data.training_set(f"folder:{folder}", (1, 16, 16), 10)
    assert read is not None
    assert read.images.shape == (32, 1, 16, 16)


def test_what_a_second_export_does_not_write_stays(mine: RunFolder, exported: Exported, no_tracing: None) -> None:
    export.write(mine, "safetensors")
    second = export.write(mine, ["onnx"], teacher_license="MIT")
    assert list(second.files) == ["model.safetensors", "model.onnx"]
    assert second.path == mine.path / "export"
    assert json.loads((second.path / "parity.json").read_text())["files"].keys() == second.files.keys()
    assert "MIT, as stated by whoever exported it" in (second.path / "README.md").read_text()


def test_what_a_person_changed_is_never_written_over(mine: RunFolder) -> None:
    said: list[str] = []
    out = export.write(mine, "safetensors,images", teacher_license="MIT").path
    for name in ("README.md", "config.json"):
        (out / name).write_text((out / name).read_text() + "\n")
    (out / "model.safetensors").write_bytes(b"changed since")
    (out / "images" / "mine.txt").write_text("a note")
    again = export.write(mine, "safetensors", say=said.append)
    assert list(again.files) == ["model.safetensors"]
    assert f"{out / 'images'} is not as an export wrote it, and is not listed" in said
    assert f"{out / 'model.safetensors'} is not as an export wrote it, and is kept as model.safetensors.before" in said
    assert (out / "model.safetensors.before").read_bytes() == b"changed since"
    assert (out / "README.md.before").read_text().endswith("\n\n")
    assert "MIT, as stated by whoever exported it" in (out / "README.md").read_text(), "stated once"
    (out / "model.safetensors").write_bytes(b"changed again")
    export.write(mine, "safetensors,images")
    assert (out / "model.safetensors.before1").read_bytes() == b"changed again"
    assert (out / "images.before" / "mine.txt").read_text() == "a note"
    assert sorted(each.name for each in (out / "images").iterdir()) == ["labels.csv", "train"]
    assert not list(out.glob("README.md.before?")), "nobody changed that one"
    (out / "README.md").write_text("mine")
    (out / "parity.json").unlink()
    export.write(mine, "safetensors")
    assert (out / "README.md.before1").read_text() == "mine", "also where nothing is known of what was written"
    (out / "README.md").unlink()
    (out / "README.md").symlink_to(mine.path / "manifest.json")
    export.write(mine, "safetensors")
    assert (out / "README.md.before2").is_symlink(), "and a link is somebody's too"


def test_a_changed_config_stays_the_folders_mark_on_a_full_disk(
    mine: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = export.write(mine, "safetensors").path
    changed = (out / "config.json").read_text() + "\n"
    (out / "config.json").write_text(changed)
    for _ in range(2):
        with monkeypatch.context() as patch:
            fill_the_disk(patch, out / "config.json.tmp")
            with pytest.raises(RunError, match="No space left on device"):
                export.write(mine, "safetensors")
    export.write(mine, "safetensors")
    assert (out / "config.json.before").read_text() == changed
    assert not (out / "config.json.before1").exists(), "one copy is enough"


def test_a_license_that_another_export_was_told_meanwhile_is_kept(
    mine: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Files.of

    def meanwhile(source: Any, names: list[str]) -> Files:
        monkeypatch.setattr(Files, "of", made)
        export.write(mine, "safetensors", teacher_license="MIT")
        return made(source, names)

    monkeypatch.setattr(Files, "of", meanwhile)
    out = export.write(mine, "safetensors").path
    assert "MIT, as stated by whoever exported it" in (out / "README.md").read_text()


def test_one_export_at_a_time_writes_into_a_folder(mine: RunFolder) -> None:
    out = export.write(mine, "safetensors").path
    with FileLock(out / ".lock"), pytest.raises(RunError, match=r"another export is writing to .*; wait for its end"):
        export.write(mine, "images")
    assert list(export.write(mine, "images").files) == ["model.safetensors", "images"]
    assert not (out / ".lock").exists()


def test_weights_that_were_exchanged_are_not_loaded_from_an_export(mine: RunFolder) -> None:
    out = export.write(mine, "safetensors").path
    content = bytearray((out / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (out / "model.safetensors").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"model.safetensors is not what parity.json beside it was written of"):
        load_student(out)
    export.write(mine, "images")
    with pytest.raises(DamagedFile, match=r"model.safetensors is not what parity.json beside it was written of"):
        load_student(out)


def test_n_and_spread_are_those_of_the_seeds_beside_it(make: Make) -> None:
    first, second = (make(f"seed{seed}", "dafl", seed=seed) for seed in (0, 1))
    make("other", "dafl", seed=2, balance=3.0)
    last = [events_of(each)[-1]["accuracy"] for each in (first, second)]
    mean, spread = np.mean(last), np.std(last, ddof=1)
    card = (export.write(first, "safetensors").path / "README.md").read_text()
    assert f"{last[0]:.4f}; {mean:.4f} ± {spread:.4f} over n = 2 seeds" in card


def test_a_card_says_nothing_of_this_machine_and_nothing_in_it_is_markup(mine: RunFolder, tmp_path: Path) -> None:
    manifest = json.loads((mine.path / "manifest.json").read_text())
    manifest["teacher"]["name"] = f"resnet20@{tmp_path}/<script>|`.pth"
    manifest["evaluation"]["name"] = f"folder:{tmp_path}/photos: mine"
    (mine.path / "manifest.json").write_text(json.dumps(manifest))
    (mine.path / "digests.json").unlink()  # which would say that it is not as it was written
    out = export.write(mine, "safetensors", teacher_license="<b>|").path
    for name in ("README.md", "config.json", "parity.json"):
        assert str(tmp_path) not in (out / name).read_text()
    card = (out / "README.md").read_text()
    assert card.count("<script>") == card.count("`resnet20@<script>\\|'.pth`") == 1, "as code, which shows it as it is"
    assert "<b>" not in card
    assert "\x1b" not in card
    assert "resnet20@&lt;script&gt;\\|\\`.pth" in card
    (result,) = yaml.safe_load(card.split("---\n", 2)[1])["model-index"][0]["results"]
    assert result["dataset"]["name"] == "folder:photos: mine"


# what fails, and what stays


def test_a_weight_that_is_not_what_the_run_saved_is_refused(mine: RunFolder, capsys: Any) -> None:
    file = mine.path / "student.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    assert main(["export", str(mine.path), "--to", "safetensors"]) == 2
    said = capsys.readouterr().err
    assert "student.safetensors is damaged ('" in said
    assert said.count("\n") == 1
    assert not (mine.path / "export").exists()


def test_a_file_that_gives_something_else_is_removed_and_the_others_stay(
    mine: RunFolder, exported: Exported, no_tracing: None, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    words = ["export", str(mine.path), "--to", "safetensors,onnx"]
    assert main(words) == 0
    good = (mine.path / "export" / "model.onnx").read_bytes()
    monkeypatch.setattr(graphs, "onnx_model", lambda *_: spoiled(good))
    capsys.readouterr()
    assert main(words) == 2
    assert "model.onnx gives logits that differ by" in capsys.readouterr().err
    assert (mine.path / "export" / "model.onnx").read_bytes() == good, "what was proven before stays"
    shutil.rmtree(mine.path / "export")
    assert main(words) == 2
    assert "was removed\n" in capsys.readouterr().err
    there = {each.name for each in (mine.path / "export").iterdir()}
    assert there == {"README.md", "config.json", "model.safetensors", "parity.json"}
    assert list(json.loads((mine.path / "export" / "parity.json").read_text())["files"]) == ["model.safetensors"]


def test_an_int8_file_below_99_percent_needs_a_word(
    mine: RunFolder, no_tracing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "LEAST_SAME", 1.01)
    with pytest.raises(RunError, match=r"model.int8.onnx gives the same class in .*: --accept, and was removed"):
        export.write(mine, "int8")
    assert not (mine.path / "export" / "model.int8.onnx").exists()
    kept = export.write(mine, "int8", accept=True)
    assert kept.files["model.int8.onnx"]["accepted"]
    assert "did not pass, and was accepted" in (kept.path / "README.md").read_text()


@pytest.mark.parametrize("state", [{}, {"student": {}, "modules": {}}, {"modules": {"memory": {"images": 3}}}])
def test_a_checkpoint_of_nonsense_is_refused(mine: RunFolder, state: dict[str, Any]) -> None:
    saved = torch.load(mine.path / "checkpoint.pt", weights_only=True)
    torch.save({"round": 2, "student": saved["student"], **state}, mine.path / "checkpoint.pt")
    (mine.path / "digests.json").unlink()
    with pytest.raises(DamagedFile, match=r"checkpoint.pt cannot be used|student.safetensors is damaged"):
        export.write(mine, "safetensors")
    assert not (mine.path / "export").exists()


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 1e-3])
def test_what_differs_or_is_no_number_does_not_pass(broken: float) -> None:
    net = Frozen(nets.classifier("convnet_8", 1, 10), (0.5,), (0.5,))
    images = torch.rand(256, 1, 16, 16)
    assert not parity.compare(net, net, images).problem()
    assert parity.compare(net, lambda given: net(given) + broken, images).problem()
    assert parity.compare(net, lambda given: net(given)[:, :9], images).problem()
    only_alone = parity.compare(net, lambda given: net(given) + (len(given) == 1), images)
    assert only_alone.problem()


def test_a_file_that_its_own_library_cannot_read_is_removed(
    mine: RunFolder, no_tracing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "onnx_model", lambda *_: b"no graph")
    with pytest.raises(RunError, match=r"model.onnx cannot be used \(.*, and was removed"):
        export.write(mine, "onnx")
    assert not list((mine.path / "export").glob("model*"))


def test_int8_is_judged_by_all_inputs() -> None:
    rows = [Row(1, 8, "1x1", 1.0, 1.0, 7 / 8), Row(64, 256, "1x1", 1.0, 1.0, 1.0)]
    assert not Parity(rows, is_int8=True).problem()
    assert Parity(rows, is_int8=False).problem()


def test_a_full_disk_is_a_sentence_and_what_was_proven_stays(
    mine: RunFolder, no_tracing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, content: Any) -> None:
        if path.name.startswith("model.onnx"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_atomically(path, content)

    monkeypatch.setattr(destination, "write_atomically", fail)
    with pytest.raises(RunError, match=r"model.onnx.unproven: No space left on device; model.safetensors stays"):
        export.write(mine, "safetensors,onnx")
    there = {each.name for each in (mine.path / "export").iterdir()}
    assert there == {"config.json", "model.safetensors", "parity.json"}
    monkeypatch.setattr(destination, "write_atomically", write_atomically)
    said: list[str] = []
    assert list(export.write(mine, "onnx", say=said.append).files) == ["model.safetensors", "model.onnx"]
    assert not [each for each in said if "is not as" in each or "changed" in each]


def test_what_a_killed_export_left_is_written_over(mine: RunFolder, no_tracing: None) -> None:
    out = export.write(mine, "safetensors").path
    (out / "model.onnx.unproven").write_bytes(b"half")
    (out / "images.unproven").mkdir()
    (out / "images.unproven" / "half.png").write_bytes(b"half")
    (out / "README.md").unlink()
    export.write(mine, "safetensors,onnx,images")
    assert not list(out.glob("*unproven*"))
    assert not (out / "images" / "half.png").exists()


# what a run or a request lacks


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--to", "onx"], "to: 'onx' is not a format; did you mean 'onnx'?"),
        (["--to", ","], "names no format; known: safetensors, pt2, onnx, int8, images"),
        (["--too", "onnx"], "'too' is not a setting of export; did you mean 'to'?"),
        (["--to"], "--to needs a value"),
        (["onnx"], "'onnx' belongs to no setting"),
        (["--trust-code", "maybe"], "'maybe' is not a choice"),
        (["--out", " "], "out = ' ' is no folder"),
        (["--out", "x" * 300], "File name too long"),
        (["--teacher-license", " "], "teacher_license = ' '; allowed: text of one line"),
        (["--teacher-license", "\udcff"], "allowed: text of one line"),
        (["--out", "a\nb"], "out = 'a\\nb' is no folder"),
        (["--out", "~no_such_user/x"], "out = '~no_such_user/x' is no folder"),
    ],
)
def test_a_wrong_request_is_one_sentence(kept: RunFolder, arguments: list[str], sentence: str, capsys: Any) -> None:
    assert main(["export", str(kept.path), *arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (kept.path / "export").exists()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"run": 3}, "run = 3 is an int; allowed: str or Path or RunFolder"),
        ({"out": b"x"}, "out = b'x' is a bytes; allowed: str or Path"),
        ({"to": ["onnx", 1]}, "to = 1 is an int; allowed: str"),
        ({"to": None}, "to = None is nothing; allowed: str"),
        ({"accept": "perhaps"}, "accept"),
    ],
)
def test_a_value_of_another_type_is_one_sentence(kept: RunFolder, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=re.escape(sentence)):
        export.write(**{"run": kept, **values})
    with pytest.raises(SpecError, match="path = 3 is an int; allowed: str or Path"):
        load_student(3)  # type: ignore[arg-type]


def test_an_export_is_not_written_into_another_run(kept: RunFolder, mine: RunFolder) -> None:
    with pytest.raises(SpecError, match=r"is inside the run folder .*; allowed: a folder outside of other runs"):
        export.write(kept, "safetensors", mine.path / "deep" / "er")
    assert export.write(mine, "safetensors", mine.path / "other").path.is_dir()


def test_what_is_no_run_or_is_not_finished_is_refused(
    mine: RunFolder, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words, sentence in (
        (["export"], "export takes a run folder before its settings"),
        (["export", "--to", "onnx"], "export takes a run folder before its settings"),
        (["export", str(tmp_path)], "is not a run folder"),
    ):
        assert main(words) == 2
        assert sentence in capsys.readouterr().err
    with pytest.raises(RunError, match="is not a run folder"):
        export.write(tmp_path)
    (mine.path / "student.safetensors").rename(tmp_path / "aside")
    with pytest.raises(RunError, match=r"student.safetensors is gone; put it back"):
        export.write(mine)
    status = json.loads((mine.path / "status.json").read_text())
    (mine.path / "status.json").write_text(json.dumps({**status, "state": "stopped", "round": 1}))
    (mine.path / "checkpoint.pt").unlink()
    with pytest.raises(RunError, match=r"is stopped after round 1 of 2, and nothing is saved in .*; continue with:"):
        export.write(mine)
    monkeypatch.setattr(RunFolder, "status", lambda self: {**status, "state": "running", "round": 1})
    with pytest.raises(RunError, match=r"has no student yet: it is running; wait until it is finished, or stop it"):
        export.write(mine)


def test_a_folder_of_something_else_is_left_alone(mine: RunFolder, exported: Exported, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "bert"}')
    file = tmp_path / "file"
    file.write_text("x")
    for out, sentence in (
        (other, r"holds something else \(config.json\); move it away, or name another"),
        (file, "is a file"),
        (mine.path, "is a run folder"),
    ):
        with pytest.raises(SpecError, match=sentence):
            export.write(mine, "safetensors", out)
    assert [each.name for each in other.iterdir()] == ["config.json"]
    (other / "config.json").write_text(json.dumps({"dfkd_lab": {"student_sha256": "0" * 64}}))
    with pytest.raises(SpecError, match=r"holds the export of another student \(sha256 0000000000000000\)"):
        export.write(mine, "safetensors", other)


def test_without_the_extra_a_sentence_says_what_to_install(
    kept: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "onnxruntime" else "here")
    with pytest.raises(SpecError, match=r"needs onnxruntime; run: pip install 'dfkd_lab\[export\]'"):
        export.write(kept, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert list(export.write(kept, "safetensors", tmp_path / "out").files) == ["model.safetensors"]


def test_a_reference_has_no_synthetic_images(make: Make) -> None:
    folder = make("kd", "kd")
    with pytest.raises(RunError, match=r"to = 'int8' needs synthetic images, and .*'kd' uses real images"):
        export.write(folder, "onnx,int8")
    made = export.write(folder, "safetensors")
    found = json.loads((made.path / "parity.json").read_text())
    assert "256 images of uniform noise" in found["files"]["model.safetensors"]["inputs"]
    card = (made.path / "README.md").read_text()
    assert "data-free-knowledge-distillation" not in card
    assert "It uses real images: a reference, not data-free." in card
    assert "| images shown | " in card
    assert "| images synthesized | " not in card
    assert "on synthetic images" not in card
    alone = export.write(make("alone", "alone"), "safetensors").path / "README.md"
    assert "trained without a teacher by `alone` of dfkd_lab at commit " in alone.read_text()
    assert "inherits the teacher's faults" not in alone.read_text()


@pytest.mark.parametrize(
    "method", ["zskt", *(pytest.param(each, marks=pytest.mark.long) for each in ("dafl", "mb_dfkd"))]
)
def test_a_run_that_keeps_no_images_draws_them_the_same_each_time(method: str, make: Make, tmp_path: Path) -> None:
    folder = make("live", method, data="none")
    made = export.write(folder, "images", tmp_path / "first")
    table, card = ((made.path / name).read_text() for name in ("images/labels.csv", "README.md"))
    assert table.count("\n") == 1 + synthetic.DRAWN
    again = export.write(folder, "images", tmp_path / "second")
    assert (again.path / "images" / "labels.csv").read_text() == table
    assert "The run had no evaluation set." in card
    assert "model-index" not in card


def test_what_images_need_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make("live", "dafl")
    (folder.path / "checkpoint.pt").rename(folder.path / "aside")
    with pytest.raises(RunError, match=r"to = 'images' needs synthetic images, and .*its checkpoint.pt was removed"):
        export.write(folder, "images")
    made = export.write(folder, "safetensors")
    assert "nothing, for checkpoint.pt was removed" in (made.path / "parity.json").read_text()
    (folder.path / "checkpoint.pt").write_bytes(b"x")
    with pytest.raises(RunError, match=r"checkpoint.pt is damaged .*; put it back from a copy, or remove it"):
        export.write(folder, "safetensors")


# networks


def test_a_network_of_a_file_is_executed_only_if_a_person_says_so(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(own_file(marker=tmp_path / "marker"))
    folder = make("own", "dafl", student="my.py:Mine")
    python_file.TRUSTED.clear()
    (tmp_path / "marker").unlink()
    assert main(["export", str(folder.path), "--to", "safetensors"]) == 2
    assert f"read it, then: export {folder.path} --trust-code" in capsys.readouterr().err
    assert not (tmp_path / "marker").exists()
    assert main(["export", str(folder.path), "--trust-code", "--to", "safetensors"]) == 0
    out = folder.path / "export"
    assert (out / "my.py").read_text() == (tmp_path / "my.py").read_text()
    assert json.loads((out / "config.json").read_text())["architecture"] == "my.py:Mine"
    with pytest.raises(
        SpecError, match=r"no checkpoint decides what is executed; .*load_student\('.*', '.*/my.py:Mine'"
    ):
        load_student(out)
    assert 'load_student(".", "my.py:Mine")(images)' in (out / "README.md").read_text()
    assert load_student(out, f"{out}/my.py:Mine")(torch.rand(2, 1, 16, 16)).shape == (2, 10)
