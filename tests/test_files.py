"""Files are written whole or not at all, wherever they point."""

import os
import stat

import pytest

from polyfleet.errors import InputError
from polyfleet.files import check_writable, read_text, write_whole


def test_a_link_is_followed(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "plan.json").write_text("old")
    with pytest.raises(TypeError):
        write_whole(tmp_path / "plan.json", 5)
    assert (tmp_path / "plan.json").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_a_missing_folder_and_a_folder_are_refused_before_any_work(tmp_path):
    with pytest.raises(InputError, match="folder does not exist"):
        check_writable(tmp_path / "none" / "plan.json")
    with pytest.raises(InputError, match="this is a folder"):
        check_writable(tmp_path)
    with pytest.raises(InputError):
        write_whole(tmp_path / "none" / "plan.json", "text")


def test_text_that_is_not_utf8_names_its_line(tmp_path):
    (tmp_path / "spec.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(InputError, match=r"spec.yaml:2: not UTF-8"):
        read_text(tmp_path / "spec.yaml")
