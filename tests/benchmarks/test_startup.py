import json

from benchmarks import startup


def test_processor_time_of_fresh_processes_and_beyond_a_bare_python(capsys, monkeypatch):
    scripts = {startup.BARE: ["-c", ""], "a sum": ["-c", "sum(range(10_000_000))"]}
    monkeypatch.setattr(startup, "processes", lambda: scripts)
    startup.main(rounds=1)
    printed, _, table = capsys.readouterr().out.partition("\n\n")
    rows = json.loads(printed)["processes"]
    assert rows[startup.BARE]["beyond_python"] == 0
    assert rows["a sum"]["beyond_python"] > 0.05
    assert "| a sum |" in table


def test_what_is_measured_runs_and_can_be_chosen(capsys):
    startup.main(rounds=1, what=["import videolights_hf", "videolights --help"])
    rows = json.loads(capsys.readouterr().out.partition("\n\n")[0])["processes"]
    assert set(rows) == {startup.BARE, "import videolights_hf", "videolights --help"}
