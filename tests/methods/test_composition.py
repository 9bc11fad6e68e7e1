"""Slots replaced from outside: what fits runs, what does not is refused with the reason."""

from collections.abc import Callable
from typing import Any

import pytest

from dfkd_lab import Session, methods, plan
from dfkd_lab.cli.flags import parse
from dfkd_lab.errors import RecipeError, SpecError
from dfkd_lab.methods import catalogue
from dfkd_lab.methods.composition import KINDS, LOSSES, Composed, compose
from dfkd_lab.primitives.memories import ImageBuffer, Live, PriorityBuffer, VAEMemory
from dfkd_lab.runs.folder import default_folder
from dfkd_lab.spec import RunSpec

pytestmark = pytest.mark.slow

MakeSpec = Callable[..., RunSpec]
FILLINGS = [(slot, word) for slot, words in KINDS.items() for word in words]


@pytest.mark.parametrize(("slot", "word"), FILLINGS)
def test_every_word_fills_its_slot_as_the_method_it_is_taken_from(slot: str, word: str) -> None:
    donor = catalogue.recipe_of(methods.find(KINDS[slot][word])())
    fitting = {"ema": ("dafl", "dfq"), "hidden_maps": ("fssc",)}.get(word, ("deepinversion", "dafl"))
    for host in fitting:
        slots: Any = {slot: word}
        recipe = catalogue.recipe_of(compose(host, **slots))
        assert type(getattr(recipe, slot)) is type(getattr(donor, slot))
        untouched = {"synthesizer", "memory", "view", "student_view"} - {slot}
        own = catalogue.recipe_of(methods.find(host)())
        assert all(type(getattr(recipe, each)) is type(getattr(own, each)) for each in untouched)


@pytest.mark.parametrize("name", LOSSES)
def test_every_term_can_be_added_with_a_weight(name: str) -> None:
    recipe = catalogue.recipe_of(compose("zskt", terms={name: 0.7}))
    assert recipe.all_losses()[name].weight == 0.7


def test_without_replacements_a_method_is_itself() -> None:
    method = methods.find("dafl")()
    assert compose(method) is method


def test_a_borrowed_memory_agrees_with_its_host_and_takes_options() -> None:
    recipe = catalogue.recipe_of(compose("ssd_kd", preset="digits", memory="vae:z_steps=7"))
    assert isinstance(recipe.memory, VAEMemory)
    assert (recipe.memory.z_dim, recipe.memory.z_steps, recipe.memory.replayed) == (64, 7, 16)  # host, option, preset
    ring: Any = catalogue.recipe_of(compose("ssd_kd", preset="digits", memory="ring")).memory
    assert (type(ring), ring.capacity) == (ImageBuffer, 1000)


def test_a_slot_may_be_a_function_and_a_method_may_be_named_instead_of_a_word() -> None:
    recipe: Any = catalogue.recipe_of(
        compose("dafl", memory=lambda context, recipe: Live(), view="deepinversion:jitter=3")
    )
    assert recipe.memory.draws
    assert recipe.view.distance == 3


@pytest.mark.parametrize(("host", "memory"), [("dafl", "ema"), ("fssc", "hidden_maps")])
def test_a_memory_that_lives_on_the_generator_follows_its_hosts(host: str, memory: str) -> None:
    recipe: Any = catalogue.recipe_of(compose(host, preset="digits", memory=memory))
    (followed,) = recipe.memory._followed
    assert followed in (recipe.synthesizer, recipe.synthesizer.net)


def test_terms_are_reweighed_taken_out_and_taken_from_a_named_method() -> None:
    own = catalogue.recipe_of(methods.find("ssd_kd")())
    recipe = catalogue.recipe_of(compose("ssd_kd", terms="gap=0,label=2,dfq.balance=20"))
    assert [recipe.losses[name].weight for name in ("gap", "label", "balance")] == [0, 2, 20]
    assert type(recipe.losses["label"].loss) is type(own.losses["label"].loss)
    assert recipe.losses["gap"].start == own.losses["gap"].start


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"memory": "vea"}, "did you mean 'vae'"),
        ({"memory": "vae:replaced=3"}, "did you mean 'replayed'"),
        ({"memory": "vae:replayed=1"}, "replayed = 1 is out of range"),
        ({"memory": "vae:replayed"}, "not of the form name=value"),
        ({"terms": "balnce=5"}, "did you mean 'balance'"),
        ({"terms": "balance=-1"}, "balance = -1 is out of range"),
        ({"terms": "balance=much"}, "'much' is not a number"),
        ({"terms": "dalf.balance=1"}, "did you mean 'dafl'"),
        ({"synthesizer": "pixels", "memory": "live"}, "Pixels has no source to draw from; choose a memory that keeps"),
        ({"synthesizer": "pixels", "memory": "vae"}, "VAEMemory draws new images"),
        ({"memory": "ema"}, "MetaGenerator has none"),
        ({"memory": "hidden_maps"}, "FeatureMapBuffer keeps the maps of codes, and MetaGenerator gives none"),
        ({"synthesizer": "generator"}, "'label' needs the target class, and NoiseGenerator has none"),
        ({"terms": "student_label=1", "memory": "live"}, "that Live reads from MetaGenerator have none"),
        ({"terms": "student_label=1", "memory": "bank"}, "that ImageBank reads from MetaGenerator have none"),
        ({"terms": "label=0,bn_gap=0,gap=0"}, "no loss of the synthesizer has a weight in the first round"),
        ({"terms": "kd=0"}, "no loss of the student has a weight; give one"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(
    make_spec: MakeSpec, tmp_path: Any, wish: dict[str, str], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        make_spec("ssd_kd", **wish)
    assert not list(tmp_path.iterdir())


def test_a_slot_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'memory'"):
        compose("dafl", memry="vae")


def test_a_combination_that_this_teacher_cannot_have_leaves_no_folder(
    make_spec: MakeSpec, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, context: Any) -> Any:
        raise RecipeError("not with this teacher")

    spec = make_spec("dafl", memory="ring")
    monkeypatch.setattr(Composed, "compose", refuse)
    with pytest.raises(RecipeError, match="not with this teacher"):
        Session(spec)
    assert not list(tmp_path.iterdir())


def test_a_composed_run_trains_resumes_and_says_so(make_spec: MakeSpec) -> None:
    whole = Session(make_spec("ssd_kd", out="whole", rounds=4, memory="vae", terms="balance=5"))
    reports = list(whole)
    assert isinstance(whole.run.recipe.memory, VAEMemory)
    assert all("balance" in report.terms for report in reports)
    assert whole.folder.manifest()["method"]["replaced"] == {"memory": "vae", "terms": "balance=5"}
    spec = make_spec("ssd_kd", out="halves", rounds=4, memory="vae", terms="balance=5")
    for report in (first := Session(spec)):
        if report.round == 2:
            first.stop()
    list(Session(spec))
    student = "student.safetensors"
    assert (whole.folder.path / student).read_bytes() == (first.folder.path / student).read_bytes()


def test_the_memory_of_ssd_kds_modulation_is_the_replaced_one(make_spec: MakeSpec) -> None:
    session = Session(make_spec("ssd_kd", memory="ring", rounds=2))
    list(session)
    recipe: Any = session.run.recipe
    assert recipe.losses["label"].loss.weight.memory is recipe.memory
    assert not isinstance(recipe.memory, PriorityBuffer)


def test_the_command_line_takes_slots_and_the_folder_is_named_after_them() -> None:
    spec = plan(method="ssd_kd", **parse("ssd_kd", ["--memory", "vae:z_steps=2", "--terms", "balance=5"]))
    assert (spec.memory, spec.terms) == ("vae:z_steps=2", "balance=5")
    assert default_folder(spec.spec).name == "ssd_kd+memory_vae+terms_balance=5-digits-convnet_8-seed0"


def test_what_is_said_twice_is_refused() -> None:
    with pytest.raises(SpecError, match=r"view: low is said twice, 1 and 0\.5"):
        compose("fast", view="resized_crop:low=1,low=0.5")
    with pytest.raises(SpecError, match="terms: kd is said twice, 1 and 2"):
        compose("fast", terms="kd=1,kd=2")
