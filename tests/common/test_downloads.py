import hashlib

import pytest

from tests.support.file_server import FileServer
from videolights_hf.common.downloads import DownloadError, check_reachable, download

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def server():
    with FileServer(CONTENT) as server:
        yield server


@pytest.fixture
def file(server):
    return server.file(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def test_a_file_comes_whole_and_is_announced_with_its_size(server, file, tmp_path, caplog):
    path = download(file, tmp_path / "cache", "some weights")
    assert path == tmp_path / "cache" / "weights.pkl"
    assert path.read_bytes() == CONTENT
    assert [record.getMessage().split(" from ")[0] for record in caplog.records] == ["Downloading some weights (0 MB)"]
    assert [child.name for child in path.parent.iterdir()] == ["weights.pkl"]


def test_a_connection_that_breaks_is_taken_up_where_it_broke(server, file, tmp_path):
    server.breaks_after = 30_000
    assert download(file, tmp_path, "x").read_bytes() == CONTENT
    assert server.requests == [("GET", None), *(("GET", f"bytes={start}-") for start in (30_000, 60_000, 90_000))]


def test_what_an_earlier_process_left_is_used(server, file, tmp_path):
    (tmp_path / "weights.pkl.incomplete").write_bytes(CONTENT[:70_000])
    assert download(file, tmp_path, "x").read_bytes() == CONTENT
    assert server.requests == [("GET", "bytes=70000-")]


def test_a_server_that_knows_no_ranges_is_read_from_the_start(server, file, tmp_path):
    server.knows_ranges = False
    (tmp_path / "weights.pkl.incomplete").write_bytes(b"?" * 70_000)
    assert download(file, tmp_path, "x").read_bytes() == CONTENT


def test_a_download_that_gets_nowhere_keeps_what_came(server, file, tmp_path):
    (tmp_path / "weights.pkl.incomplete").write_bytes(CONTENT[:70_000])
    server.breaks_after = 0
    with pytest.raises(DownloadError, match=r"broke off .*continues where it stopped"):
        download(file, tmp_path, "x")
    assert (tmp_path / "weights.pkl.incomplete").read_bytes() == CONTENT[:70_000]
    server.breaks_after = None
    assert download(file, tmp_path, "x").read_bytes() == CONTENT


def test_another_content_is_refused_and_not_kept(server, file, tmp_path):
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(DownloadError, match="is not the file that is expected"):
        download(file, tmp_path, "x")
    assert not list(tmp_path.iterdir())


def test_no_more_is_read_than_the_file_has(server, file, tmp_path):
    server.content = CONTENT + b"?" * 10**6
    assert download(file, tmp_path, "x").read_bytes() == CONTENT


def test_a_part_beyond_a_shorter_file_is_thrown_away(server, file, tmp_path):
    (tmp_path / "weights.pkl.incomplete").write_bytes(CONTENT[:70_000])
    server.content = CONTENT[:60_000]
    with pytest.raises(DownloadError, match="Repeat the command"):
        download(file, tmp_path, "x")
    assert not list(tmp_path.iterdir())
    server.content = CONTENT
    assert download(file, tmp_path, "x").read_bytes() == CONTENT


def test_a_missing_file_is_told_by_its_address(server, file, tmp_path):
    server.status = 404
    with pytest.raises(DownloadError, match=r"weights\.pkl cannot be downloaded \(Not Found\)"):
        download(file, tmp_path, "x")
    with pytest.raises(DownloadError, match=r"weights\.pkl cannot be reached \(Not Found\)"):
        check_reachable(file)
