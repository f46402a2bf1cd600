"""The app over HTTP, without a browser: what it lets through, and to whom."""

from __future__ import annotations

import json
import socket
import time
from urllib.parse import quote

import pytest

from tests.support.app_page import AppPage, as_file, request
from videolights_hf.app import AppSettings, running_app
from videolights_hf.demo import demo_videos

VIDEO = demo_videos() / "demo_0_00001.mp4"
SECRET = "kept by the server alone"


@pytest.fixture(scope="module")
def connections():
    """Addresses that this process connects to."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        connect = socket.socket.connect

        def noted(self, address):
            if self.family in (socket.AF_INET, socket.AF_INET6):
                seen.append(address[0])
            return connect(self, address)

        patch.setattr(socket.socket, "connect", noted)
        yield seen


@pytest.fixture(scope="module")
def app(detectors, connections):
    with running_app(AppSettings(max_megabytes=1, grace_seconds=0), detectors, host="127.0.0.1") as app:
        yield app


@pytest.fixture
def page(app):
    return AppPage(app.address)


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    path = tmp_path_factory.mktemp("server") / "secret.txt"
    path.write_text(SECRET)
    return path


def test_the_page_is_there_and_lets_a_browser_load_nothing_from_elsewhere(app):
    status, body, headers = request(app.address)
    assert status == 200
    assert b"videolightsPicture" in body
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "*" not in policy
    for foreign in (b"fonts.googleapis", b"fonts.gstatic", b"cdnjs", b"unpkg", b"jsdelivr"):
        assert foreign not in body
    config = request(f"{app.address}config")[1].decode()
    assert str(app.actions.sessions.uploads.parent) not in config


def test_a_question_is_answered_over_the_queue(app, page):
    video = page.run("choose", "Colored shapes 1 (bundled)")[0]["video"]
    shown, message, *_ = page.run("ask", "a red circle")
    assert shown["predictions"][0]["moments"]
    assert not message["is_error"]
    file = page.run("save")[0]["file"]
    status, body, headers = request(app.address + file["address"])
    assert (status, headers["Content-Disposition"]) == (200, 'attachment; filename="demo_0_00000.json"')
    assert json.loads(body)["predictions"][0]["query"] == "a red circle"
    # A player asks for parts.
    status, body, headers = request(app.address + video, headers={"Range": "bytes=10-19"})
    assert (status, len(body), headers["Content-Type"]) == (206, 10, "video/mp4")


def test_no_file_of_the_server_can_be_read(app, page, secret):
    page.run("choose", "Colored shapes 1 (bundled)")
    key = app.actions.sessions.get(page.session_hash).key
    status, uploaded = page.upload(VIDEO)
    assert status == 200
    up = "../" * 12
    places = [str(secret), uploaded, "/etc/passwd"]
    paths = [
        form.format(path=path)
        for path in (*places, *(quote(place, safe="") for place in places))
        for form in (
            "gradio_api/file={path}",
            "gradio_api/file/{path}",
            "file={path}",
            "file/{path}",
            "gradio_api/proxy=file://{path}",
            f"media/{key}/{{path}}",
            f"media/{key}/{up}{{path}}",
            f"media/{up}{{path}}",
            f"assets/{up}{{path}}",
            f"static/{up}{{path}}",
            f"svelte/{up}{{path}}",
            f"gradio_api/upload/{up}{{path}}",
            "gradio_api/stream/{path}/0/0/playlist-file",
            "gradio_api/custom_component/{path}",
        )
    ]
    paths += [path.replace("../", "%2e%2e%2f") for path in paths if "../" in path]
    for path in paths:
        status, body, _ = request(app.address + path)
        assert status in (403, 404, 307), path
        assert SECRET.encode() not in body, path
        assert b"root:" not in body, path
        assert body[4:8] != b"ftyp", path


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/info",
        "gradio_api/openapi.json",
        "gradio_api/call/ask",
        "gradio_api/run/ask",
        "gradio_api/api/ask",
        "gradio_api/file=http://127.0.0.1/",
        "gradio_api/vibe-code/",
        "gradio_api/mcp/",
        "monitoring",
        "monitoring/summary",
        "docs",
        "openapi.json",
        "login",
    ],
)
def test_what_the_page_does_not_need_is_not_there(app, path):
    assert request(app.address + path)[0] == 404
    assert request(app.address + path, b"{}", {"Content-Type": "application/json"})[0] == 404


def test_a_path_of_the_server_is_no_upload(app, page, secret):
    for path in (str(secret), "/etc/passwd", str(VIDEO)):
        answer = page.run("upload", as_file(path))
        assert SECRET not in str(answer)
        session = app.actions.sessions.get(page.session_hash)
        assert session.video is None
        assert session.files == {}


def test_uploads_are_asked_about_and_gone_with_the_page(app, page):
    with page.open():
        status, path = page.upload(VIDEO)
        assert status == 200
        shown, message, *_ = page.run("upload", as_file(path))
        assert shown["title"] == VIDEO.name
        assert "is here" in message["text"]
        folder = app.actions.sessions.get(page.session_hash).folder
        assert request(app.address + shown["video"])[1] == VIDEO.read_bytes()
        assert page.run("ask", "a red circle")[0]["predictions"]
    waited = time.monotonic() + 20
    while folder.exists() and time.monotonic() < waited:
        time.sleep(0.05)
    assert not folder.exists()
    assert request(app.address + shown["video"])[0] == 404


def test_a_file_that_is_too_large_is_not_taken(app, page, tmp_path):
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(1_200_000))
    status, message = page.upload(large)
    assert status == 413
    assert "maximum allowed size" in message


def test_two_people_at_once_get_their_own(app):
    pages = [AppPage(app.address), AppPage(app.address)]
    names = ["Colored shapes 1 (bundled)", "Colored shapes 2 (bundled)"]
    videos = [page.run("choose", name)[0]["video"] for page, name in zip(pages, names, strict=True)]
    assert videos[0] != videos[1]
    answers = [page.run("ask", sentence)[0] for page, sentence in zip(pages, ["a red circle", ""], strict=True)]
    assert [answer["predictions"][0]["query"] for answer in answers] == ["a red circle", "highlights"]
    assert [answer["title"] for answer in answers] == ["demo_0_00000.mp4", "demo_0_00001.mp4"]


def test_it_connects_to_nothing_but_itself(app, connections):
    assert set(connections) <= {"127.0.0.1", "::1", "localhost", "0.0.0.0"}
