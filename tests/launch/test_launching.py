"""What `up` brings up: from which plan, and when a plan is refused."""

import json
import os
import subprocess
import sys

import pytest

from polyfleet import api
from polyfleet.api import launching
from polyfleet.errors import InputError, LaunchError, PlanFileError, SpecError

SPEC = """\
workloads:
  chat:
    model: Qwen/Qwen3-32B
    precision: [bf16, fp8]
    traffic: {traffic}
    slo: {{ttft: 2s p95, tpot: 50ms p95}}
policy: {{hosted: forbidden, exclude: {{provider: [crusoe, hyperstack]}}}}
catalog: {{offers: prices.csv}}
{launch}
"""
RATE = "{rate: 2/s, input: 900, output: 200}"
PRICES = "id,usd_per_hour,quota_instances,as_of,note\nlambda:*:gpu_1x_gh200:on_demand,{usd},,2026-11-24,made up\n"


@pytest.fixture
def project(tmp_path):
    def write(launch="launch: {on: sky}", traffic=RATE, usd=0.5):
        (tmp_path / "fleet.yaml").write_text(SPEC.format(launch=launch, traffic=traffic))
        (tmp_path / "prices.csv").write_text(PRICES.format(usd=usd))
        return api.load_spec(tmp_path / "fleet.yaml")

    return write


def plans_made(monkeypatch):
    made = []

    def counting(source, **options):
        made.append(source)
        return api.make_plan(source, **options)

    monkeypatch.setattr(launching, "make_plan", counting)
    return made


def test_a_plan_is_made_once_and_again_when_what_it_is_made_from_changes(project, tmp_path, monkeypatch):
    made, home = plans_made(monkeypatch), tmp_path / "home"
    first = launching.plan_for(project(), home, print)
    assert launching.plan_for(project(launch="launch: {on: kubernetes}"), home, print).digest == first.digest
    assert len(made) == 1
    dearer = launching.plan_for(project(usd=0.6), home, print)
    assert len(made) == 2
    assert dearer.usd_per_month > first.usd_per_month
    assert len(list((home / "plans").iterdir())) == 1


def test_a_plan_is_made_again_when_its_trace_has_changed(project, tmp_path, monkeypatch):
    made, trace = plans_made(monkeypatch), tmp_path / "trace.csv"
    rows = [f"{second},900,200" for second in range(600)]
    trace.write_text("\n".join(("timestamp,input_tokens,output_tokens", *rows)))
    source = project(traffic="{trace: trace.csv}")
    launching.plan_for(source, tmp_path / "home", print)
    trace.write_text("\n".join(("timestamp,input_tokens,output_tokens", *rows, "600,900,200")))
    launching.plan_for(source, tmp_path / "home", print)
    assert len(made) == 2


def test_a_kept_plan_that_was_damaged_is_made_anew(project, tmp_path, monkeypatch):
    made, home = plans_made(monkeypatch), tmp_path / "home"
    first = launching.plan_for(project(), home, print)
    (kept,) = (home / "plans").iterdir()
    kept.write_text(kept.read_text()[:-100])
    assert launching.plan_for(project(), home, print).digest == first.digest
    assert len(made) == 2


def test_a_plan_of_another_spec_is_refused(project):
    plan = api.make_plan(project())
    launching.require_current(plan, project(), stale=False)
    launching.require_current(plan, project(launch="launch: {on: kubernetes}"), stale=False)
    with pytest.raises(PlanFileError, match="made for another spec"):
        launching.require_current(plan, project(traffic="{rate: 3/s, input: 900, output: 200}"), stale=True)


def test_a_plan_of_an_older_catalog_is_refused_where_what_it_rents_has_moved(project):
    plan = api.make_plan(project())
    assert {rental.offer for rental in plan.rentals} == {"lambda:*:gpu_1x_gh200:on_demand"}
    moved = project(usd=0.7)
    with pytest.raises(PlanFileError, match=r"planned at 0\.50 USD/h, costs 0\.70 USD/h by now"):
        launching.require_current(plan, moved, stale=False)
    launching.require_current(plan, moved, stale=True)


def test_on_kubernetes_and_on_sky_are_chosen_by_the_spec_or_the_option(project):
    assert launching.is_planned(project(), None)
    assert launching.is_planned(project(launch=""), "sky")
    assert not launching.is_planned(project(launch=""), None)
    source = project(launch="launch: {places: [{provider: aws, on: sky}]}")
    plan = api.make_plan(source)
    with pytest.raises(LaunchError, match="nothing says where line 0"):
        launching.planned_fleet(source, plan, None, {})
    assert {spec.place for spec in launching.planned_fleet(source, plan, "sky", {}).replicas} == {"sky"}


def test_weights_that_cannot_be_found_are_told_with_the_specs_line(project):
    source = project(launch="launch: {on: sky, weights_from: 'ftp://there'}")
    with pytest.raises(InputError, match=r"fleet\.yaml:9: weights cannot come from there"):
        launching.planned_fleet(source, api.make_plan(source), None, {})


def polyfleet(folder, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("POLYFLEET")}
    return subprocess.run(
        [sys.executable, "-m", "polyfleet", *arguments], cwd=folder, env=environment, text=True, capture_output=True,
        check=False, timeout=60,
    )  # fmt: skip


def test_a_dry_run_says_what_would_be_asked_at_what_price_and_touches_nothing(project, tmp_path):
    source = project()
    plan = api.make_plan(source)
    (rental,) = plan.rentals
    told = polyfleet(tmp_path, "up", "fleet.yaml", "--dry-run")
    assert told.returncode == 0, told.stderr
    assert f"{rental.instances[0] * rental.usd_per_hour:.2f} USD/h; nothing was touched" in told.stdout
    assert "lambda:*:gpu_1x_gh200" in told.stdout
    assert sorted(path.name for path in (tmp_path / ".polyfleet").iterdir()) == ["plans"]
    rows = json.loads(polyfleet(tmp_path, "up", "fleet.yaml", "--dry-run", "--json").stdout)
    assert len(rows) == rental.instances[0]
    assert all(row["offers"][0]["resources"]["infra"] == "lambda" for row in rows)
    assert all("docker run" in row["manifest"]["run"] for row in rows)
    assert polyfleet(tmp_path, "status").stdout.startswith("nothing runs here")


@pytest.mark.parametrize(
    ("launch", "told"),
    [
        ("launch: {on: here}", "`launch.on`"),
        ("launch: {places: [{provider: aws, on: kubernetes, namespace: Not_One}]}", "namespace"),
        ("launch: {places: [{provider: aws, on: sky, context: x}]}", "go with `on: kubernetes`"),
        ("launch: {secret: 'a b'}", "`launch.secret`"),
        ("launch: {engines: {chats: {image: x}}}", "chats"),
        ("launch: {endpoints: {box: {workload: chats, url: 'http://a'}}}", "chats"),
        ("launch: {endpoints: {box: {key_env: A, key_file: b}}}", "one of them"),
    ],
)
def test_a_wrong_launch_section_is_told_in_one_line(tmp_path, launch, told):
    (tmp_path / "fleet.yaml").write_text(SPEC.format(launch=launch, traffic=RATE))
    (tmp_path / "prices.csv").write_text(PRICES.format(usd=1))
    done = polyfleet(tmp_path, "up", "fleet.yaml", "--dry-run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert not (tmp_path / ".polyfleet").exists()


def test_json_goes_with_a_dry_run_alone(project, tmp_path):
    project()
    done = polyfleet(tmp_path, "up", "fleet.yaml", "--json")
    assert (done.returncode, "--json goes with --dry-run" in done.stderr) == (2, True)


def test_a_place_of_a_misspelt_provider_is_told_with_its_line(project):
    source = project(launch="launch: {on: sky, places: [{provider: lambada, on: kubernetes}]}")
    with pytest.raises(InputError, match=r"fleet\.yaml:9: unknown provider .*lambada"):
        launching.planned_fleet(source, api.make_plan(source), None, {})


def test_replicas_of_one_id_are_told_before_anything_is_wanted(project, tmp_path):
    endpoint = "launch: {endpoints: {'0': {workload: chat, url: 'http://127.0.0.1:9'}}}"
    source = project(launch=f"{endpoint}\nlocal: {{chat: {{engine: command, command: 'serve {{port}}'}}}}")
    with pytest.raises(SpecError, match=r"two replicas would have the same id .*chat-0"):
        launching.local_fleet(source, tmp_path)


def test_a_dry_run_tells_of_chips_that_are_rented_and_idle(project, tmp_path):
    source = project()
    offer = "aws:us-east-1:p5.48xlarge:on_demand,0.08,1,2026-11-24,made up"
    (tmp_path / "prices.csv").write_text(PRICES.splitlines()[0] + "\n" + offer)
    plan = api.make_plan(source)
    (rental,), (line,) = plan.rentals, plan.lines
    used = max(line.replicas) * line.chips_per_replica / 8 * 0.08
    assert used < rental.usd_per_hour * max(rental.instances)
    told = polyfleet(tmp_path, "up", "fleet.yaml", "--dry-run")
    assert f"{used:.2f} USD/h of 0.08 for whole machines" in told.stdout, told.stderr
