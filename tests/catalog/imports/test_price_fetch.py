"""The seam to the network, against a server on loopback that misbehaves."""

import gzip
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from polyfleet.catalog.imports.fake import FakeFetch
from polyfleet.catalog.imports.fetch import TRIES, FetchError, HttpFetch, via_mirror


@pytest.fixture
def waits():
    return []


@pytest.fixture
def fetch(waits):
    return HttpFetch(timeout_s=5, wait=waits.append)


def whole(answer):
    return b"".join(answer.chunks)


def test_an_answer_comes_as_it_was_sent_with_the_day_of_its_last_change(prices, reply, fetch):
    body = bytes(range(256)) * 4000
    prices.pages["/list.csv"] = [reply(body, headers={"Last-Modified": "Thu, 22 Jan 2026 23:10:00 GMT"})]
    answer = fetch(f"{prices.url}/list.csv")
    assert whole(answer) == body
    assert answer.dated == "2026-01-22"


def test_gzip_is_unpacked(prices, reply, fetch):
    body = b"price\n" * 300_000
    prices.pages["/l"] = [reply(gzip.compress(body), headers={"Content-Encoding": "gzip"})]
    assert whole(fetch(f"{prices.url}/l")) == body


def test_chunks_need_no_length(prices, reply, fetch):
    prices.pages["/l"] = [reply(b"a,b\n", chunked=True)]
    assert whole(fetch(f"{prices.url}/l")) == b"a,b\n"


def test_asked_too_often_waits_as_long_as_the_server_says(prices, reply, fetch, waits):
    prices.pages["/l"] = [reply(status=429, headers={"Retry-After": "7"}), reply(b"ok")]
    assert whole(fetch(f"{prices.url}/l")) == b"ok"
    assert waits == [7.0]


def test_a_retry_after_may_be_a_date(prices, reply, fetch, waits):
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    prices.pages["/l"] = [reply(status=503, headers={"Retry-After": then}), reply(b"ok")]
    assert whole(fetch(f"{prices.url}/l")) == b"ok"
    assert waits[0] == pytest.approx(40, abs=5)


def test_a_server_in_trouble_is_asked_again_with_doubling_pauses_and_then_given_up(prices, reply, fetch, waits):
    prices.pages["/l"] = [reply(status=500)]
    with pytest.raises(FetchError, match="status 500") as caught:
        fetch(f"{prices.url}/l")
    assert caught.value.status == 500
    assert len(prices.asked) == TRIES
    assert waits == [1, 2, 4, 8]


def test_a_pause_of_an_hour_is_left_to_the_user(prices, reply, fetch, waits):
    prices.pages["/l"] = [reply(status=429, headers={"Retry-After": "3600"})]
    with pytest.raises(FetchError, match="pause of 3600 s"):
        fetch(f"{prices.url}/l")
    assert waits == []


def test_what_is_not_there_is_not_asked_for_again(prices, fetch, waits):
    with pytest.raises(FetchError, match="status 404"):
        fetch(f"{prices.url}/none")
    assert len(prices.asked) == 1
    assert waits == []


def test_nobody_there_is_one_clear_line(fetch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(FetchError, match=r"no answer: .*refused"):
        fetch(f"http://127.0.0.1:{port}/l")


def test_a_silent_server_is_given_up_after_the_time_out(waits):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(FetchError, match=r"no answer: .*timed out"):
            HttpFetch(timeout_s=0.05, wait=waits.append)(f"http://127.0.0.1:{port}/l")
    assert len(waits) == TRIES - 1


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_shorter_than_announced_is_an_error(prices, reply, fetch, packed):
    body = gzip.compress(b"a,b\n" * 1000) if packed else b"a,b\n1,2\n"
    headers = {"Content-Encoding": "gzip"} if packed else {}
    prices.pages["/l"] = [reply(body, headers=headers, said_length=len(body) + 50)]
    with pytest.raises(FetchError, match="cut short"):
        whole(fetch(f"{prices.url}/l"))


def test_a_gzip_without_its_end_is_an_error_though_the_length_fits(prices, reply, fetch):
    prices.pages["/l"] = [reply(gzip.compress(b"a,b\n" * 1000)[:-9], headers={"Content-Encoding": "gzip"})]
    with pytest.raises(FetchError, match="its gzip has no end"):
        whole(fetch(f"{prices.url}/l"))


def test_an_answer_whose_end_cannot_be_known_is_refused(prices, reply, fetch):
    prices.pages["/l"] = [reply(b"a,b\n", said_length=0)]
    with pytest.raises(FetchError, match="does not say how long"):
        whole(fetch(f"{prices.url}/l"))


def test_a_redirect_to_another_host_is_not_followed_and_takes_no_key(prices, reply, fetch):
    prices.pages["/l"] = [reply(status=302, headers={"Location": prices.url.replace("127.0.0.1", "localhost") + "/m"})]
    prices.pages["/m"] = [reply(b"stolen")]
    with pytest.raises(FetchError, match="sends us on to http://localhost"):
        fetch(f"{prices.url}/l", {"X-Goog-Api-Key": "secret"})
    assert [path for path, _ in prices.asked] == ["/l"]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "prices.csv", "http://"])
def test_only_http_addresses_are_asked(fetch, url):
    with pytest.raises(FetchError, match="no http or https address"):
        fetch(url)


def test_a_query_is_never_shown(fetch, prices):
    with pytest.raises(FetchError) as caught:
        fetch(f"{prices.url}/none?key=secret")
    assert "secret" not in str(caught.value)


def test_a_mirror_is_asked_for_the_same_path_and_query():
    fake = FakeFetch({"http://127.0.0.1:9/base/a/b?c=1": b"x"})
    assert whole(via_mirror(fake, "http://127.0.0.1:9/base/")("https://prices.example:443/a/b?c=1")) == b"x"
