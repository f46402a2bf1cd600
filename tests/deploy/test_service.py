import http.client
import importlib.util
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.file_server import FileServer
from videolights_hf import VideoMomentRetrievalPipeline
from videolights_hf.demo import demo_checkpoint, demo_videos
from videolights_hf.deploy import AnswerService, MomentClient, ServiceSettings, running_service

VIDEO = demo_videos() / "demo_0_00000.mp4"
SENTENCES = ["a red circle", "There is a blue square on stripes."]


@pytest.fixture(scope="module")
def pipeline():
    return VideoMomentRetrievalPipeline.from_pretrained(demo_checkpoint(), device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The allowed folder: a video, a file that is none, and a link that leads out."""
    folder = tmp_path_factory.mktemp("allowed")
    (folder / "video.mp4").write_bytes(VIDEO.read_bytes())
    (folder / "text.mp4").write_text("no video")
    (folder / "link.mp4").symlink_to(VIDEO)
    return folder


@pytest.fixture(scope="module")
def address(pipeline, folder):
    settings = ServiceSettings(allow_folders=(folder,), max_megabytes=2, max_sentences=3, max_videos=4, timeout=120)
    with running_service(AnswerService(pipeline, settings)) as address:
        yield address


def send(address, method, path, body=None, kind="application/json"):
    """Status and JSON of an answer."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": kind}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            content = response.read()
            return response.status, json.loads(content) if content else None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_encoded_once_and_asked_by_eight_clients_it_says_what_the_pipeline_says(address, pipeline, folder):
    expected = pipeline(VIDEO, SENTENCES)
    client = MomentClient(address)
    ids = [client.upload(VIDEO), client.add(path=str(folder / "video.mp4"))]
    assert ids[0] != ids[1]

    def ask(index):
        return MomentClient(address).ask(ids[index % 2], SENTENCES)

    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(ask, range(24)):
            assert answer == json.loads(json.dumps(expected))
    assert len(client.ask(ids[0], SENTENCES, top_k=1)[0]["moments"]) == 1
    assert send(address, "DELETE", f"/videos/{ids[0]}") == (204, None)
    with pytest.raises(ValueError, match="answers 404: There is no such video"):
        client.ask(ids[0], SENTENCES)


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "status", "message"),
    [
        ("POST", "/videos", b"no video at all", "video/mp4", 422, "The file"),
        ("POST", "/videos", b"", "video/mp4", 422, "is empty"),
        ("POST", "/videos", b"#EXTM3U\n/etc/passwd", "video/mp4", 422, "playlist"),
        ("POST", "/videos", bytes(2_000_001), "video/mp4", 413, "larger than 2 MB"),
        ("POST", "/videos", b"<x/>", "text/xml", 415, "text/xml"),
        ("POST", "/videos", b"{", "application/json", 422, "the body: Invalid JSON"),
        ("POST", "/videos", b"[" * 100_000, "application/json", 422, "the body: Invalid JSON"),
        ("POST", "/videos", {}, "application/json", 422, "one of `path` and `url`"),
        ("POST", "/videos", {"path": "a", "url": "b"}, "application/json", 422, "one of `path` and `url`"),
        ("POST", "/videos", {"file": "a"}, "application/json", 422, "file: Extra inputs"),
        ("POST", "/videos", {"path": "/etc/passwd"}, "application/json", 403, "does not allow this path"),
        ("POST", "/videos", {"path": "/no/such/file"}, "application/json", 403, "does not allow this path"),
        ("POST", "/videos", {"path": "a\0b"}, "application/json", 422, "no path"),
        ("POST", "/videos", {"url": "http://127.0.0.1/a.mp4"}, "application/json", 403, "not allow this address"),
        ("POST", "/videos", {"url": "file:///etc/passwd"}, "application/json", 403, "not allow this address"),
        ("POST", "/videos/none/moments", {"sentences": ["a"]}, "application/json", 404, "no such video"),
        ("POST", "/videos/none/moments", {"sentences": []}, "application/json", 422, "sentences: List should have"),
        (
            "POST",
            "/videos/none/moments",
            {"sentences": ["a"] * 4},
            "application/json",
            422,
            "4 sentences are too many",
        ),
        ("POST", "/videos/none/moments", {"sentences": "a"}, "application/json", 422, "sentences: Input should be"),
        ("POST", "/videos/none/moments", {"sentences": ["a"], "top_k": 0}, "application/json", 422, "top_k"),
        ("POST", "/videos/none/moments", bytes(1_000_001), "application/json", 413, "larger than 1 MB"),
        ("DELETE", "/videos/none", None, "application/json", 404, "no such video"),
        ("GET", "/videos", None, "application/json", 405, "Method Not Allowed"),
        ("GET", "/nothing", None, "application/json", 404, "Not Found"),
    ],
)
def test_bad_input_ends_in_a_json_error(address, method, path, body, kind, status, message):
    found, answer = send(address, method, path, body, kind)
    assert found == status
    assert list(answer) == ["error"]
    assert message in answer["error"]
    assert "Traceback" not in answer["error"]
    assert "videolights-" not in answer["error"]


def test_what_a_folder_holds_is_checked_too(address, folder):
    for name, status in (("link.mp4", 403), ("../x.mp4", 403), ("none.mp4", 404), ("text.mp4", 422)):
        assert send(address, "POST", "/videos", {"path": str(folder / name)})[0] == status
    key = MomentClient(address).add(path=str(folder / "video.mp4"))
    status, answer = send(address, "POST", f"/videos/{key}/moments", {"sentences": [" "]})
    assert status == 422
    assert "describe the moment in words" in answer["error"]


def test_a_body_of_unknown_length_is_counted(address):
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.putrequest("POST", "/videos")
    connection.putheader("Content-Type", "video/mp4")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    for _ in range(64):
        connection.send(chunk)
    connection.send(b"0\r\n\r\n")
    assert connection.getresponse().status == 413
    assert send(address, "GET", "/health")[1]["in_flight"] == 0


def test_a_file_that_is_much_too_large_is_not_read(address, tmp_path):
    with (tmp_path / "huge.mp4").open("wb") as file:
        file.truncate(2_000_000_000)
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"larger than 2 MB|probably larger than it takes"):
        MomentClient(address).upload(tmp_path / "huge.mp4")
    assert time.monotonic() - start < 20


def test_health_metrics_and_pages(address):
    send(address, "GET", "/nothing")
    status, health = send(address, "GET", "/health")
    assert status == 200
    assert health["status"] == "ok"
    with urllib.request.urlopen(f"{address}/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        text = response.read().decode()
    assert re.search(r'^videolights_requests_total\{route="none",status="404"\} \d+$', text, re.MULTILINE)
    assert re.search(r"^videolights_in_flight 0$", text, re.MULTILINE)
    with urllib.request.urlopen(f"{address}/docs") as response:
        page = response.read().decode()
    assert "POST /videos/{key}/moments" in page
    # Nothing is fetched from elsewhere.
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    _, schema = send(address, "GET", "/openapi.json")
    assert "sentences" in json.dumps(schema["paths"]["/videos/{key}/moments"]["post"]["requestBody"])


def test_addresses_that_are_allowed(pipeline):
    with FileServer(VIDEO.read_bytes()) as server:
        files = f"http://127.0.0.1:{server.server_port}/allowed"
        settings = ServiceSettings(allow_url_prefixes=(f"{files}/",), max_megabytes=2)
        with running_service(AnswerService(pipeline, settings)) as address:
            client = MomentClient(address)
            assert client.ask(client.add(url=f"{files}/video.mp4"), ["a red circle"])[0]["query"] == "a red circle"
            for url in (
                f"http://127.0.0.1:{server.server_port}/other/video.mp4",
                f"{files}/../video.mp4",
                f"{files}/%2e%2e/video.mp4",
                f"{files}@example.org/video.mp4",
            ):
                assert send(address, "POST", "/videos", {"url": url})[0] == 403
            # Nothing of these was asked for.
            assert len(server.requests) == 1
            server.status = 404
            status, answer = send(address, "POST", "/videos", {"url": f"{files}/none.mp4"})
            assert (status, answer) == (502, {"error": "The address cannot be read (status 404)."})
            server.status, server.content = 200, bytes(2_000_001)
            assert send(address, "POST", "/videos", {"url": f"{files}/large.mp4"})[0] == 413


def test_a_redirect_is_not_followed(pipeline):
    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()

        def log_message(self, *_):
            pass

    with FileServer(VIDEO.read_bytes()) as server, HTTPServer(("127.0.0.1", 0), Redirect) as redirecting:
        target = f"http://127.0.0.1:{server.server_port}/video.mp4"
        threading.Thread(target=redirecting.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        prefix = f"http://127.0.0.1:{redirecting.server_port}/"
        settings = ServiceSettings(allow_url_prefixes=(prefix,))
        with running_service(AnswerService(pipeline, settings)) as address:
            status, answer = send(address, "POST", "/videos", {"url": f"{prefix}video.mp4"})
        redirecting.shutdown()
        assert (status, answer) == (502, {"error": "The address cannot be read (status 302)."})
        assert server.requests == []


def test_limits_of_length_queue_and_time(pipeline):
    with running_service(AnswerService(pipeline, ServiceSettings(max_minutes=0.1))) as address:
        status, answer = send(address, "POST", "/videos", VIDEO.read_bytes(), "video/mp4")
        assert status == 413
        assert "takes 0.1 minutes" in answer["error"]

    features = pipeline.processor.encode_video(VIDEO)

    class Encoded:
        def encode_video(self, path):
            return features

    class Blocked:
        processor = Encoded()
        go_on = threading.Event()

        def __call__(self, *args, **options):
            self.go_on.wait(60)
            return pipeline(*args, **options)

    blocked, question = Blocked(), {"sentences": ["a red circle"]}
    service = AnswerService(blocked, ServiceSettings(max_queue=2, timeout=5))
    with running_service(service) as address, ThreadPoolExecutor(2) as pool:
        key = MomentClient(address).upload(VIDEO)
        waiting = [pool.submit(send, address, "POST", f"/videos/{key}/moments", question) for _ in range(2)]
        while send(address, "GET", "/health")[1]["in_flight"] < 2:
            time.sleep(0.01)
        status, answer = send(address, "POST", f"/videos/{key}/moments", question)
        assert status == 503
        assert "try again later" in answer["error"]
        assert [one.result()[0] for one in waiting] == [504, 504]
        blocked.go_on.set()


def test_a_client_that_goes_away_frees_its_place(address):
    host, port = urlsplit(address).netloc.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /videos HTTP/1.1\r\nHost: x\r\nContent-Type: video/mp4\r\nContent-Length: 1000\r\n\r\nabc"
        )
        while send(address, "GET", "/health")[1]["in_flight"] < 1:
            time.sleep(0.01)
    for _ in range(500):
        if send(address, "GET", "/health")[1]["in_flight"] == 0:
            break
        time.sleep(0.01)
    assert send(address, "GET", "/health")[1]["in_flight"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_queue": 0}, "`max_queue` must be positive"),
        ({"allow_folders": (Path("/no/such/folder"),)}, "does not exist"),
        ({"allow_url_prefixes": ("https://example.org",)}, "end with a slash"),
        ({"allow_url_prefixes": ("file:///",)}, "must begin with http"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        ServiceSettings(**settings)


def test_the_endpoint_handler(pipeline):
    path = Path(__file__).parents[2] / "examples" / "endpoint" / "handler.py"
    spec = importlib.util.spec_from_file_location("handler", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = module.EndpointHandler(str(demo_checkpoint()))
    video = b64encode(VIDEO.read_bytes()).decode()
    assert handler({"inputs": {"video": video, "sentences": SENTENCES}, "parameters": {"top_k": 2}}) == pipeline(
        VIDEO, SENTENCES, top_k=2
    )
    for data, message in (
        ({}, "`inputs` must be"),
        ({"inputs": {"video": 3, "sentences": ["a"]}}, "must be a string of base64"),
        ({"inputs": {"video": "?", "sentences": ["a"]}}, "no base64"),
        ({"inputs": {"video": "AAAA", "sentences": ["a"]}}, "The video"),
        ({"inputs": {"video": video, "sentences": [""]}}, "describe the moment"),
        ({"inputs": {"video": video, "sentences": ["a"]}, "parameters": {"audio": 1}}, "no parameter audio"),
    ):
        assert message in handler(data)["error"]
