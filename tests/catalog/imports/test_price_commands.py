"""`polyfleet catalog refresh` and `diff` as a user meets them, against a server on loopback."""

import json
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from polyfleet.catalog.imports import gcp, skypilot

LAMBDA = urlsplit(skypilot.ADDRESS.format(schema=skypilot.SCHEMA, cloud="lambda")).path


@pytest.fixture
def polyfleet(tmp_path, prices):
    """Run `polyfleet catalog ARGS` with the server as mirror."""

    def run(*args, **env):
        return subprocess.run(
            [sys.executable, "-m", "polyfleet", "catalog", *map(str, args)],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={"POLYFLEET_CATALOG_MIRROR": prices.url, "PATH": "/usr/bin:/bin", **env},
        )  # fmt: skip

    return run


@pytest.fixture
def lambdas(prices, reply, sample):
    """The server has Lambda's list."""
    prices.pages[LAMBDA] = [reply(sample("skypilot_lambda_vms.csv"))]
    return prices


def refresh(polyfleet, *more, **env):
    return polyfleet("refresh", "--from", "skypilot", "--provider", "lambda", "-o", "p.csv", *more, **env)


@pytest.mark.usefixtures("lambdas")
def test_refresh_tells_what_it_read_and_what_it_wrote(polyfleet, tmp_path):
    done = refresh(polyfleet)
    assert (done.returncode, done.stderr) == (0, "")
    assert "skypilot: 4 rows read, 2 offers understood" in done.stdout
    assert "1   no chips named" in done.stdout
    assert "wrote p.csv (2 offers): 0 new, 0 moved, 2 the same, 0 held back, 0 your own" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert skypilot.ADDRESS.format(schema="v8", cloud="lambda") in (tmp_path / "p.csv").read_text()


@pytest.mark.usefixtures("lambdas")
def test_refresh_as_json_says_the_same(polyfleet):
    told = json.loads(refresh(polyfleet, "--json").stdout)
    assert (told["written"], told["offers"], told["same"]) == ("p.csv", 2, 2)
    assert told["lists"][0]["left_out"] == [{"reason": "no chips named", "rows": 1, "examples": []}]


def test_a_price_held_back_is_shown_with_the_way_to_take_it(polyfleet, lambdas, reply, sample):
    dear = sample("skypilot_lambda_vms.csv").replace(b"31.92", b"319.2")
    lambdas.pages[LAMBDA] = [reply(dear)]
    done = refresh(polyfleet)
    assert "held back, for they move by more than 3 x: 1" in done.stdout
    assert "--accept ID" in done.stdout
    assert "10.00" in done.stdout
    taken = refresh(polyfleet, "--accept", "lambda:*:gpu_8x_h100_sxm5:on_demand", "--accept", "lambda:x")
    assert "1 moved" in taken.stdout
    assert taken.stderr == "--accept lambda:x fits no price that was read\n"


def test_a_list_cut_short_is_one_line_and_leaves_the_file(polyfleet, lambdas, reply, sample, tmp_path):
    refresh(polyfleet)
    before = (tmp_path / "p.csv").read_bytes()
    body = sample("skypilot_lambda_vms.csv")
    lambdas.pages[LAMBDA] = [reply(), reply(body[:300], said_length=len(body))]
    done = refresh(polyfleet)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert f"cut short: 300 of {len(body):,} bytes came" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "p.csv").read_bytes() == before


def test_googles_key_is_needed_and_never_shown(polyfleet, prices, reply):
    none = polyfleet("refresh", "--from", "gcp", "-o", "p.csv")
    assert (none.returncode, gcp.KEY in none.stderr) == (2, True)
    path = urlsplit(gcp.ADDRESS.format(service=gcp.COMPUTE)).path
    prices.pages[path] = [reply(status=403)]
    refused = polyfleet("refresh", "--from", "gcp", "-o", "p.csv", **{gcp.KEY: "my-secret-key"})
    assert refused.returncode == 2
    assert "status 403; is the key right" in refused.stderr
    assert "my-secret-key" not in refused.stdout + refused.stderr
    assert prices.asked[-1][1]["X-Goog-Api-Key"] == "my-secret-key"
    assert "key" not in prices.asked[-1][0]


def test_diff_shows_moves_as_a_table_and_as_json(polyfleet, tmp_path):
    offer = "lambda:*:gpu_8x_h100_sxm5:on_demand"
    for name, usd in (("old", 30), ("new", 36)):
        (tmp_path / f"{name}.csv").write_text(f"id,usd_per_hour\n{offer},{usd}\n")
    done = polyfleet("diff", "old.csv", "new.csv")
    assert done.returncode == 0
    assert "old.csv -> new.csv: 1 moved, 0 appeared, 0 gone" in done.stdout
    assert "1.20" in done.stdout
    (change,) = json.loads(polyfleet("diff", "old.csv", "new.csv", "--json").stdout)["changes"]
    assert (change["id"], change["was"]["usd"], change["now"]["usd"]) == (offer, 30, 36)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["diff", "none.csv"], "none.csv: no such file"),
        (["diff", "a.csv", "b.csv", "c.csv"], "two files of offers at most"),
        (["diff", "a.csv", "none.json"], "none.json: there is no such file"),
        (["refresh", "--from", "sky"], "neither a list nor a file"),
        (["refresh", "--as-of", "yesterday"], "no date: yesterday"),
        (["refresh", "--mirror", "ftp://x"], "is no http or https address"),
    ],
)
def test_a_wrong_request_is_one_line(polyfleet, args, says):
    done = polyfleet(*args)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
