"""A run whose student learns nothing says so, in its log too."""

from collections.abc import Callable

from dfkd_lab import RunFolder, RunSpec, Session


def test_a_student_that_never_moves_raises_an_alarm_that_names_its_rate(make_spec: Callable[..., RunSpec]) -> None:
    spec = make_spec(method="noise", rounds=10, settings={"s_lr": 0.0, "s_steps": 20, "batch": 8})
    reports = list(Session(spec))
    assert not any("has not fallen" in alarm for report in reports[:-1] for alarm in report.alarms)
    assert any("the student's loss 'kd' has not fallen in 10 rounds" in alarm for alarm in reports[-1].alarms)
    assert "sgd, s_lr = 0" in reports[-1].alarms[-1]
    assert RunFolder(spec.out).reports()[-1].alarms == reports[-1].alarms
