"""What two runs differ in, as a refusal says it."""

from dfkd_lab.runs.differences import difference


def test_differences_are_shown_one_by_one_also_inside_settings() -> None:
    old = {"seed": 0, "same": 1, "gone": 2, "settings": {"balance": 5.0, "flip": True}}
    new = {"seed": 1, "same": 1, "settings": {"balance": 3.0, "flip": True}, "came": "x"}
    rows = ["seed: 0 -> 1", "gone: 2 -> (absent)", "balance: 5.0 -> 3.0", "came: (absent) -> 'x'"]
    assert difference(new, old) == rows
    assert difference(old, old) == []
