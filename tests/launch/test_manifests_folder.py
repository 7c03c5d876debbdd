"""Where manifests are written: whole, again and again, and never over what polyfleet did not write."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_plans import line, plan, rental
from typer.testing import CliRunner

from polyfleet.cli.main import app
from polyfleet.errors import InputError, PolyfleetError
from polyfleet.launch.manifests import folder as folder_module
from polyfleet.launch.manifests import write_folder
from polyfleet.launch.manifests.weights_from import parse_weights_from
from polyfleet.terms.plan import plan_to_json

P5 = "aws:us-east-1:p5.48xlarge:on_demand"
FIRST = {"a/one.yaml": "1\n", "a/two.yaml": "2\n", "b/three.yaml": "3\n"}
SECOND = {"a/one.yaml": "1 changed\n", "a/two.yaml": "2\n", "c/four.yaml": "4\n"}


def written(folder):
    found = {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}
    found.pop(folder_module.INDEX, None)
    return found


def test_files_of_an_earlier_run_are_replaced_or_removed_and_the_users_own_stay(tmp_path):
    out = tmp_path / "out"
    assert write_folder(out, FIRST) == ()
    (out / "overlay.yaml").write_text("mine\n")
    assert write_folder(out, FIRST) == ()
    assert write_folder(out, SECOND) == ("b/three.yaml",)
    assert written(out) == {**SECOND, "overlay.yaml": "mine\n"}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda out: (out / "c").mkdir() or (out / "c/four.yaml").write_text("mine"), "polyfleet did not write"),
        (lambda out: (out / "a/one.yaml").write_text("mine"), "was changed after polyfleet wrote it"),
        (lambda out: (out / "b/three.yaml").write_text("mine"), "was changed after polyfleet wrote it"),
        (lambda out: (out / folder_module.INDEX).write_text("{}"), "no index of polyfleet's"),
        (lambda out: (out / "a/two.yaml").unlink() or (out / "a/two.yaml").symlink_to("/dev/null"), "was changed"),
    ],
)
def test_what_polyfleet_did_not_write_stops_it_before_anything_is_changed(tmp_path, spoil, reason):
    out = tmp_path / "out"
    write_folder(out, FIRST)
    spoil(out)
    before = written(out)
    with pytest.raises(InputError, match=reason):
        write_folder(out, SECOND)
    assert written(out) == before


def test_an_index_that_names_files_elsewhere_is_refused(tmp_path):
    (tmp_path / "theirs.yaml").write_text("theirs")
    out = tmp_path / "out"
    out.mkdir()
    (out / folder_module.INDEX).write_text(json.dumps({"version": 1, "files": {"../theirs.yaml": ["x"]}}))
    with pytest.raises(InputError, match="outside its folder"):
        write_folder(out, FIRST)
    assert (tmp_path / "theirs.yaml").read_text() == "theirs"


@pytest.mark.parametrize("last", range(5))
def test_a_run_that_was_cut_short_leaves_whole_files_and_is_taken_up_by_the_next(tmp_path, monkeypatch, last):
    out = tmp_path / "out"
    write_folder(out, FIRST)
    calls, whole = [], folder_module.write_whole

    def cut(path, text):
        if len(calls) == last:
            raise KeyboardInterrupt
        calls.append(path)
        whole(path, text)

    monkeypatch.setattr(folder_module, "write_whole", cut)
    with pytest.raises(KeyboardInterrupt):
        write_folder(out, SECOND)
    for path, text in written(out).items():
        assert text in (FIRST.get(path), SECOND.get(path))
    monkeypatch.setattr(folder_module, "write_whole", whole)
    write_folder(out, SECOND)
    assert written(out) == SECOND


@given(st.text(max_size=40) | st.from_regex(r"(pvc|s3|gs|image|hub):.{0,20}"))
def test_any_text_for_where_weights_are_is_read_or_refused(text):
    kind, _, rest = text.partition(":")
    known = {"hub": "hub", "pvc": "pvc", "s3": "store", "gs": "store", "image": "image"}
    try:
        place = parse_weights_from(text)
    except InputError as error:
        told = str(error)
    else:
        assert place.kind == known[kind]
        assert not any(c.isspace() for c in place.at)
        return
    assert "weights cannot come from there" in told
    assert text != "hub"
    assert not re.fullmatch("[a-z0-9]+", rest) or kind not in ("pvc",)


def run(*arguments):
    return CliRunner().invoke(app, ["manifests", *map(str, arguments)], catch_exceptions=False)


def plan_file(tmp_path):
    made = plan([line(0, "2xH100-SXM bf16 vllm tp2", P5, [3])], [rental(P5, "H100-SXM", 8, [1])])
    (tmp_path / "plan.json").write_text(plan_to_json(made))
    return tmp_path / "plan.json"


def test_the_verb_says_what_it_wrote_and_names_stay_as_they_are(tmp_path):
    """A replica's name is how it is found again: it may not change from one polyfleet to the next."""
    done = run(plan_file(tmp_path), "-o", tmp_path / "k8s")
    assert done.exit_code == 0
    assert "5 files" in done.stdout
    assert "replicas: 3, machines: 1" in done.stdout
    assert sorted(written(tmp_path / "k8s")) == [
        "compose/aws-us-east-1-p5-48xlarge-on-demand-1.yaml",
        "kubernetes/aws-us-east-1/chat-h100-sxm-87877a.yaml",
        "kubernetes/aws-us-east-1/kustomization.yaml",
        "kubernetes/aws-us-east-1/services.yaml",
        "sky/aws-us-east-1-p5-48xlarge-on-demand-1.yaml",
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--weights-from", "ftp://x"], "weights cannot come from there (got 'ftp://x')"),
        (["--weights", "chat"], "--weights is not WORKLOAD=NAME (got 'chat')"),
        (["--secret", "Not A Name"], "--secret is no name that Kubernetes takes"),
        (["--namespace", "a/b"], "--namespace is no name that Kubernetes takes"),
        (["--window", "night"], "the plan has no such window (got 'night')"),
    ],
)
def test_a_wrong_option_is_told_in_one_line_and_nothing_is_written(tmp_path, arguments, reason):
    with pytest.raises(PolyfleetError) as error:
        run(plan_file(tmp_path), "-o", tmp_path / "k8s", *arguments)
    assert reason in str(error.value)
    assert error.value.exit_code == 2
    assert not (tmp_path / "k8s").exists()


def test_a_file_that_is_no_plan_is_told(tmp_path):
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(PolyfleetError, match="polyfleet plan"):
        run(tmp_path / "plan.json", "-o", tmp_path / "k8s")
