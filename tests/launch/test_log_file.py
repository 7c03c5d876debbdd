"""Logs stay bounded while their writers hold them open; readers and followers miss and double nothing."""

import itertools
import threading

from polyfleet.launch.local import LocalDriver
from polyfleet.launch.log_file import bound, earlier, follow, read


def _writer(path):
    return path.open("ab", buffering=0)


def test_a_log_that_grows_for_ever_keeps_two_parts_and_its_last_lines(tmp_path):
    path = tmp_path / "a.log"
    with _writer(path) as log:
        for number in range(2000):
            log.write(b"line %d\n" % number)
            bound(path, 1000)
    assert path.stat().st_size + earlier(path).stat().st_size < 2 * 1020
    kept = list(read(path))
    assert kept == [f"line {number}" for number in range(2000 - len(kept), 2000)]
    assert len(kept) > 80
    assert list(read(path, 100)) == kept[-100:]
    assert list(read(path, 3)) == ["line 1997", "line 1998", "line 1999"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.log", "a.log.1"]


def test_a_short_log_is_left_alone(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"x\n" * 500)
    assert not bound(path, 1000)
    assert not earlier(path).exists()


def test_who_follows_reads_every_line_once_over_many_turns(tmp_path):
    path, read_so_far = tmp_path / "a.log", threading.Semaphore(0)
    path.write_bytes(b"line 0\n")

    def write():
        with _writer(path) as log:
            for number in range(1, 3000):
                if number % 100 == 0:  # a reader may lag by one turn, not by two
                    for _ in range(100):
                        read_so_far.acquire()
                log.write(b"line %d\n" % number)
                bound(path, 2000)

    writer = threading.Thread(target=write)
    lines, seen = follow(path), []
    for line in itertools.islice(lines, 3000):
        seen.append(line)
        if len(seen) == 1:
            writer.start()
        read_so_far.release()
    writer.join()
    lines.close()
    assert seen == [f"line {number}" for number in range(3000)]
    assert earlier(path).exists()


def test_the_driver_bounds_all_logs_of_its_home(tmp_path):
    driver = LocalDriver(tmp_path)
    (tmp_path / "logs").mkdir()
    path = driver.log_path("chat-0")
    path.write_bytes(b"x" * (16 * 2**20) + b"\nend\n")
    driver.tidy()
    assert path.stat().st_size == 0
    assert list(driver.logs("chat-0", last=1)) == ["end"]
    assert driver.logged() == ("chat-0",)
