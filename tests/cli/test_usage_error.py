"""A wrong command line is one line that says what was probably meant; exit code 2."""

import pytest

from polyfleet.cli.main import main


@pytest.fixture
def told(monkeypatch, capsys):
    """What a command line prints on stderr, and its exit code."""

    def run(*arguments: str) -> tuple[str, int]:
        monkeypatch.setattr("sys.argv", ["polyfleet", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        shown = capsys.readouterr()
        assert "Usage:" not in shown.err
        return shown.err, stop.value.code

    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plann", "x"], "polyfleet: no such command 'plann'; did you mean `plan`? see `polyfleet --help`"),
        (["plan", "x", "--otput", "o"], "polyfleet plan: no such option: --otput; did you mean `--output`?"),
        (["plan"], "polyfleet plan: missing argument"),
        (["plan", "a", "b"], "unexpected extra argument"),
        (["catalog", "chip"], "polyfleet catalog: no such command 'chip'; did you mean `chips`?"),
        (["schema", "Plan"], "did you mean `plan`?"),
        (["speed", "--chips", "0"], "(got '0')"),
        (["speed", "--chips=many"], "(got 'many')"),
        (["catalog", "offers", "--most"], "polyfleet catalog: option '--most' requires an argument"),
        (["speed", "--model", "Qwen/Qwen3-8B", "--chip", "H100", "--engine", "vlm"], "unknown engine"),
        (["speed", "--model", "Qwen/Qwen3-8B", "--chip", "H100", "--slo-tpot", "40"], "--slo-tpot: unknown unit"),
        (["speed", "--rows", "none.csv", "-o", "no/such/folder/x.csv"], "its folder does not exist"),
        (["calibrate", "none.json"], "none.json: there is no such file"),
    ],
)
def test_a_wrong_command_line_is_one_line_with_what_was_meant(told, arguments, says):
    text, code = told(*arguments)
    assert says in text
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    assert "Errno" not in text
    assert code == 2


def test_without_a_command_the_help_is_shown(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["polyfleet"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert "Usage:" in capsys.readouterr().out
    assert stop.value.code == 2


def test_a_name_in_square_brackets_is_printed_as_it_stands(monkeypatch, capsys, tmp_path):
    file = tmp_path / "fleet.yaml"
    file.write_text('workloads: {"[/red] :bug:": {model: Qwen/Qwen3-8B, traffic: {rate: 2/s, input: 50, output: 10}}}')
    monkeypatch.setattr("sys.argv", ["polyfleet", "check", str(file)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert "[/red] :bug:" in capsys.readouterr().out
    assert stop.value.code == 0
