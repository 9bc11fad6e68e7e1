"""What an examination says is what the networks say; it disturbs nothing, and believes nothing that does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dfkd_lab import RunError, RunFolder, RunSpec, Session, SpecError, load_student, prepare, teachers
from dfkd_lab.data import Split
from dfkd_lab.errors import DamagedFile
from dfkd_lab.nets import python_file
from dfkd_lab.primitives.batch import to_float
from dfkd_lab.runs import examination, examine, examining, recorder, samples, synthetic
from dfkd_lab.runs.examination import Confusion, Examination
from tests.support import events_of, finished, own_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on digits whose memory keeps images, examined; tests only read it."""
    folder = finished(tmp_path_factory.mktemp("examined") / "kept", precision="fp32")
    examine(folder)
    return folder


@pytest.fixture
def mine(kept: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of it."""
    return RunFolder(shutil.copytree(kept.path, tmp_path / "mine"))


def found_in(folder: RunFolder) -> Examination:
    found = examination.read(folder.path)
    assert found is not None
    return found


def test_the_matrix_is_what_the_student_says_of_each_held_out_image(kept: RunFolder, held_out: Split) -> None:
    found = found_in(kept)
    student = load_student(kept.path)
    counts = [[0] * 10 for _ in range(10)]
    for image, label in zip(held_out.images, held_out.labels.tolist(), strict=True):
        counts[label][int(student(to_float(image[None])).argmax())] += 1
    assert found.evaluation.counts.tolist() == counts
    assert found.evaluation.share == pytest.approx(events_of(kept)[-1]["accuracy"], abs=1e-6)
    assert found.evaluation.by_class == [row[each] / sum(row) for each, row in enumerate(counts)]
    assert (found.round, found.rounds, found.evaluation.n) == (2, 2, len(held_out.labels))
    assert found.class_names == tuple("0123456789")
    assert found.measured["versions"]


def test_each_image_has_what_both_networks_say_and_what_the_memory_keeps(kept: RunFolder) -> None:
    images = found_in(kept).images
    memory = torch.load(kept.path / "checkpoint.pt", weights_only=True)["modules"]["memory"]
    n = int(memory["written"])
    assert torch.equal(images.images, memory["images"][:n])
    assert torch.equal(images.targets, memory["labels"][:n])
    assert torch.equal(images.losses, memory["priorities"][:n])
    assert images.ages.tolist() == [int(memory["rounds"]) - born for born in memory["born"][:n].tolist()]
    assert set(images.ages.tolist()) == {0, 1}
    for net, said, likeliest in (
        (teachers.load("digits").model, images.teacher, images.seen_by_teacher),
        (load_student(kept.path), images.student, images.seen_by_student),
    ):
        probabilities = net(to_float(images.images)).softmax(1)
        assert torch.equal(probabilities.argmax(1), likeliest)
        assert torch.allclose(probabilities.gather(1, images.classes), said, atol=1e-5)
    assert all(len({*row[:5]}) == len({*row[5:]}) == 5 for row in images.classes.tolist())
    pairs = zip(images.seen_by_teacher.tolist(), images.seen_by_student.tolist(), strict=True)
    counts = torch.zeros(10, 10, dtype=torch.long)
    for teacher, student in pairs:
        counts[teacher, student] += 1
    assert torch.equal(found_in(kept).synthetic.counts, counts)
    assert images.places[images.images[3].numpy().tobytes()] == 3


def test_largest_confusions_come_first_and_the_diagonal_is_none() -> None:
    counts = torch.tensor([[9, 1, 0], [4, 5, 0], [0, 2, 0]])
    matrix = Confusion(counts, "", 21)
    assert matrix.largest(2) == [(1, 0, 4), (2, 1, 2)]
    assert matrix.largest(99) == [(1, 0, 4), (2, 1, 2), (0, 1, 1)]
    assert matrix.by_class == [0.9, 5 / 9, 0.0]
    assert Confusion(torch.zeros(2, 2, dtype=torch.long), "", 0).by_class == [None, None]


def test_a_run_is_examined_as_it_was_saved_last_and_goes_on_as_if_it_had_not_been(
    make_spec: Callable[..., RunSpec], ambient: Callable[[int], None]
) -> None:
    whole = Session(make_spec("ssd_kd", "whole", rounds=3))
    list(whole)
    part = Session(make_spec("ssd_kd", "part", rounds=3))
    rounds = iter(part)
    next(rounds)
    next(rounds)
    part.stop()
    list(rounds)
    before = {file: file.read_bytes() for file in part.folder.path.iterdir() if file.is_file()}
    ambient(5)
    numbers = torch.get_rng_state()
    first = examine(part.folder)
    assert torch.equal(torch.get_rng_state(), numbers)
    assert (first.round, first.rounds) == (2, 3)
    after = {file: file.read_bytes() for file in part.folder.path.iterdir() if file.is_file()}
    assert {**before, part.folder.path / examination.FILE: after[part.folder.path / examination.FILE]} == after
    list(Session(part.folder.spec()))
    assert (part.folder.path / "student.safetensors").read_bytes() == (
        whole.folder.path / "student.safetensors"
    ).read_bytes()
    assert found_in(part.folder).round == 2
    again = examine(part.folder)
    assert again.round == 3
    assert again.student_sha256 != first.student_sha256
    assert again.student_sha256 == examining.weights_sha256(load_student(whole.folder.path))


@pytest.mark.parametrize("method", ["zskt"])
def test_a_run_that_keeps_no_images_is_examined_on_drawn_ones_without_any_data(method: str, tmp_path: Path) -> None:
    folder = finished(tmp_path / "live", method, data="none", precision="fp32")
    first, again = examine(folder), examine(folder)
    assert first.evaluation is None
    assert first.remarks == ("it has no evaluation set",)
    assert first.synthetic.of == "1,000 images drawn with the run's last generator"
    assert int(first.synthetic.counts.sum()) == len(first.images) == 1000
    assert first.images.ages is None
    assert first.images.losses is None
    assert torch.equal(first.images.images, again.images.images)
    assert torch.equal(first.images.student, found_in(folder).images.student)


def test_a_reference_is_examined_on_its_evaluation_set_alone(tmp_path: Path) -> None:
    found = examine(finished(tmp_path / "kd", "kd"))
    assert found.synthetic is None
    assert found.images is None
    assert "'kd' uses real images" in found.remarks[0]


def test_without_its_checkpoint_a_finished_run_has_its_student(mine: RunFolder) -> None:
    before = found_in(mine)
    (mine.path / "checkpoint.pt").unlink()
    found = examine(mine)
    assert (found.round, found.student_sha256) == (2, before.student_sha256)
    assert torch.equal(found.evaluation.counts, before.evaluation.counts)
    assert found.remarks == ("there are no synthetic images: its checkpoint.pt was removed",)


def test_where_the_evaluation_set_is_not_the_images_still_are(mine: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(card: Any, name: str) -> None:
        raise SpecError("no such folder here")

    monkeypatch.setattr(teachers, "evaluation_images", refuse)
    found = examine(mine)
    assert found.evaluation is None
    assert found.remarks == ("its evaluation set cannot be read: no such folder here",)
    (mine.path / "checkpoint.pt").unlink()
    with pytest.raises(RunError, match=r"there is nothing to examine .*mine on: its evaluation set .*; there are no"):
        examine(mine)


@pytest.mark.parametrize("method", ["ssd_kd", "zskt"])
def test_where_the_folder_of_its_images_was_moved_the_synthetic_ones_still_are(method: str, tmp_path: Path) -> None:
    for name in map(str, range(10)):
        (tmp_path / "real" / "val" / name).mkdir(parents=True)
        Image.new("L", (8, 8), 20 * int(name)).save(tmp_path / "real" / "val" / name / "one.png")
    folder = finished(tmp_path / "run", method, data=f"folder:{tmp_path / 'real'}")
    whole = examine(folder)
    assert whole.evaluation.n == 10
    (tmp_path / "real").rename(tmp_path / "elsewhere")
    found = examine(folder)
    assert found.evaluation is None
    assert "its evaluation set cannot be read" in found.remarks[0]
    assert torch.equal(found.images.images, whole.images.images)
    assert torch.equal(found.images.teacher, whole.images.teacher)
    labelled = synthetic.label(folder, folder.spec(), found.images.images)
    assert torch.equal(labelled.classes, found.images.seen_by_teacher), "as an export has it"


def test_a_run_that_is_renamed_meanwhile_is_a_sentence(mine: RunFolder) -> None:
    def rename(sentence: str) -> None:
        if mine.path.exists():
            mine.path.rename(mine.path.with_name("renamed"))

    with pytest.raises(RunError, match=r"mine was moved, renamed or removed meanwhile; examine it where it is now"):
        examine(mine, say=rename)


def test_more_images_than_are_kept_are_an_even_choice(mine: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found_in(mine).images
    monkeypatch.setattr(examining, "MOST_IMAGE_BYTES", 7 * whole.images[0].numel() + 1)
    found = examine(mine)
    assert found.synthetic.of == f"7 of the {len(whole)} images that the run's memory kept"
    places = [whole.places[image.numpy().tobytes()] for image in found.images.images]
    assert (places[0], places[-1], len(places)) == (0, len(whole) - 1, 7)
    assert torch.equal(found.images.losses, whole.losses[places])


def test_every_pixel_has_a_class_and_no_image_a_page_of_its_own(scenes_teacher: str, tmp_path: Path) -> None:
    pair = {"teacher": scenes_teacher, "student": "unet_8", "data": "scenes"}
    folder = finished(tmp_path / "dense", "ssd_kd", **pair, preset="segmentation", batch=4)
    found = examine(folder)
    assert found.images is None
    assert found.class_names[:2] == ("background", "0")
    counts, iou = found.evaluation.counts.double(), events_of(folder)[-1]["details"]["iou"]
    union = counts.sum(0) + counts.sum(1) - counts.diag()
    assert (counts.diag() / union).nan_to_num(-1).tolist() == pytest.approx([-1 if x is None else x for x in iou])
    assert int(found.synthetic.counts.sum()) == found.synthetic.n * 32 * 32


# what is refused


def test_what_cannot_be_examined_is_refused(
    mine: RunFolder, tmp_path: Path, make_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match=r"has no student to examine: it is new, and nothing is saved in checkpoint.pt"):
        examine(prepare(make_spec(out="new")))
    with pytest.raises(RunError, match="is not a run folder"):
        examine(RunFolder(tmp_path))
    manifest = json.loads((mine.path / "manifest.json").read_text())
    for name, key, sentence in (
        ("teacher", "sha256", "another teacher: "),
        ("evaluation", "images_sha256", "another evaluation set: data = 'digits': its images have sha256 "),
    ):
        changed = {**manifest, name: {**manifest[name], key: "0" * 64}}
        (mine.path / "manifest.json").write_text(json.dumps(changed))
        with pytest.raises(RunError, match=sentence):
            examine(mine)
    (mine.path / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(examining, "MOST_CLASSES", 9)
    with pytest.raises(SpecError, match=r"teacher = 'digits' has 10 classes; allowed: 9"):
        examine(mine)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"images": torch.zeros(40, 1, 8, 8, dtype=torch.uint8)}, "the teacher takes"),
        ({"images": torch.zeros(40, 1, 16, 16)}, "images of torch.float32"),
        ({"labels": torch.zeros(3)}, "labels that are not one an image"),
        ({"labels": torch.full((40,), 10)}, "one of targets is out of range"),
        ({"priorities": torch.full((40,), float("nan"))}, "one of losses is out of range"),
        ({"written": "many"}, "checkpoint.pt cannot be used"),
    ],
)
def test_a_memory_of_nonsense_is_a_sentence(changed: dict[str, Any], sentence: str, mine: RunFolder) -> None:
    before = (mine.path / examination.FILE).read_bytes()
    saved = torch.load(mine.path / "checkpoint.pt", weights_only=True)
    saved["modules"]["memory"] |= changed
    torch.save(saved, mine.path / "checkpoint.pt")
    (mine.path / "digests.json").unlink()
    with pytest.raises(RunError, match=sentence) as refused:
        examine(mine)
    assert "\n" not in str(refused.value)
    assert (mine.path / examination.FILE).read_bytes() == before


def test_a_student_of_other_weights_is_a_sentence(mine: RunFolder) -> None:
    saved = torch.load(mine.path / "checkpoint.pt", weights_only=True)
    saved["student"].popitem()
    torch.save(saved, mine.path / "checkpoint.pt")
    with pytest.raises(DamagedFile, match=r"checkpoint.pt is damaged \(its SHA-256 is not that of what was written\)"):
        examine(mine)
    (mine.path / "digests.json").unlink()
    with pytest.raises(DamagedFile, match=r"checkpoint.pt cannot be used \("):
        examine(mine)


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_read_again(
    mine: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = recorder._read, list[Path]()

    def late(digests: Any, file: Path) -> Any:
        calls.append(file)
        if len(calls) == 1:
            digests.write("seal.json", b"{}")
            digests._known = {}
            raise DamagedFile("its SHA-256 is not that of what was written")
        return read(digests, file)

    monkeypatch.setattr(recorder, "_read", late)
    assert recorder.saved_state(mine)["round"] == 2
    assert len(calls) == 2


def rewritten(folder: RunFolder, facts: dict[str, Any], tensors: dict[str, Any]) -> None:
    """Change what the file says, as somebody might."""
    file = folder.path / examination.FILE
    with safe_open(file, "pt") as opened:
        known = json.loads(opened.metadata()[examination.FACTS])
    values = {name: value for name, value in {**load_file(file), **tensors}.items() if value is not None}
    save_file(values, file, {examination.FACTS: json.dumps({**known, **facts})})


@pytest.mark.parametrize(
    ("facts", "tensors", "reason"),
    [
        ({"round": "two"}, {}, 'round is "two", not a whole number'),
        ({"class_names": []}, {}, "0 classes"),
        ({"class_names": ["a"] * 1001}, {}, "1001 classes"),
        ({"class_names": ["a", "b"]}, {}, "evaluation is no matrix of 2 classes"),
        ({"evaluation": None}, {}, "evaluation is only half there"),
        ({}, {"synthetic": None}, "synthetic is only half there"),
        ({}, {"evaluation": torch.zeros(10, 10)}, "evaluation is no matrix of 10 classes"),
        ({}, {"evaluation": torch.full((10, 10), -1)}, "a count in evaluation is out of range"),
        ({}, {"images": torch.zeros(0, 1, 16, 16, dtype=torch.uint8)}, "no such images"),
        ({}, {"images": torch.zeros(2, 1, 16, 16, dtype=torch.uint8)}, "classes are not those of 2 images"),
        ({}, {"classes": torch.full((32, 10), 10)}, "one of classes is out of range"),
        ({}, {"teacher": torch.full((32, 10), float("nan"))}, "one of teacher is out of range"),
        ({}, {"student": None}, "student are not those of 32 images"),
        ({}, {"ages": torch.full((32,), -1)}, "one of ages is out of range"),
        ({}, {"losses": torch.full((32,), float("inf"))}, "one of losses is out of range"),
        ({}, {"history": torch.full((32, 2), -1.0)}, "one of history is out of range"),
        ({}, {"history": torch.full((32, 2), float("inf"))}, "one of history is out of range"),
        ({}, {"history": torch.zeros(32, 3)}, "history are not those of 32 images"),
        ({}, {"history": None}, "history is only half there"),
        ({}, {"history_rounds": torch.tensor([0, 1])}, "one of history_rounds is out of range"),
        ({}, {"history_rounds": torch.tensor([2, 1])}, "history_rounds do not rise"),
        ({}, {"history_rounds": torch.tensor([2, 2])}, "history_rounds do not rise"),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_not_believed(
    facts: dict[str, Any], tensors: dict[str, Any], reason: str, mine: RunFolder
) -> None:
    rewritten(mine, facts, tensors)
    with pytest.raises(DamagedFile) as refused:
        examination.read(mine.path)
    assert f"{examination.FILE} is damaged ({reason})" in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}"])
def test_what_is_no_such_file_is_a_sentence(content: bytes, mine: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    file = mine.path / examination.FILE
    monkeypatch.setattr(examination, "MOST_BYTES", 1000)
    with pytest.raises(DamagedFile, match=r"is damaged \(more than 1,000 bytes\)"):
        examination.read(mine.path)
    file.write_bytes(content)
    with pytest.raises(DamagedFile, match=rf"{examination.FILE} is damaged .*; remove it, and examine the run again"):
        examination.read(mine.path)
    file.unlink()
    assert examination.read(mine.path) is None


def test_a_network_of_a_file_is_executed_only_if_a_person_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(own_file(marker=tmp_path / "marker"))
    folder = finished(tmp_path / "own", "dafl", student="my.py:Mine")
    python_file.TRUSTED.clear()
    (tmp_path / "marker").unlink()
    with pytest.raises(RunError, match=rf"read it, then: examine {folder.path} --trust-code"):
        examine(folder)
    assert not (tmp_path / "marker").exists()
    assert examine(folder, "unchanged").evaluation.share == pytest.approx(events_of(folder)[-1]["accuracy"], abs=1e-6)


def test_a_sample_grid_says_of_each_image_what_the_teacher_sees_on_that_very_image(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", "fast", padding=4, flip=True)
    grid = folder.samples()[2]
    images, cells = samples.read(grid), json.loads(grid.with_suffix(".json").read_text())["cells"]
    probabilities = teachers.load("digits").model(to_float(images)).softmax(1)
    assert len(cells) > 5
    assert probabilities.argmax(1).tolist() == [cell["predicted"] for cell in cells] == [cell["row"] for cell in cells]
    told = torch.tensor([cell["confidence"] for cell in cells])
    assert torch.allclose(probabilities.amax(1), told, atol=0.02), "but for what is lost in 8 bits"


def test_that_the_run_had_another_precision_is_said(tmp_path: Path) -> None:
    found = examine(finished(tmp_path / "half", precision="bf16"))
    assert found.remarks == (examining.OTHER_PRECISION,)
    assert examine(finished(tmp_path / "whole", precision="fp32")).remarks == ()
