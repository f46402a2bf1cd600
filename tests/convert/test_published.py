"""The authors' checkpoints by name: catalog, download from a stand-in of Google Drive, conversion, card."""

import http.server
import io
import re
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard, constants
from typer.testing import CliRunner

from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval, VideoLightsProcessor, convert_to_release
from videolights_hf.cli.main import app
from videolights_hf.convert.checkpoints import convert_published_checkpoint
from videolights_hf.convert.published import (
    download_checkpoint,
    get_published_checkpoint,
    published_checkpoints,
    published_features,
    unpacked_checkpoint,
)
from videolights_hf.hub.records import read_record

NAME = "charades_sta/videolights"
# Longer than the pieces in which gdown writes, so that a part of it is kept.
CONTENT = b"the weights" * 150_000


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A file such as the authors publish, of random weights."""
    folder = tmp_path_factory.mktemp("release")
    torch.manual_seed(0)
    model = VideoLightsForMomentRetrieval(VideoLightsConfig.from_preset("videolights", "charades_sta"))
    model.save_pretrained(folder / "model")
    convert_to_release(folder / "model", folder / "model_best.ckpt")
    return folder / "model_best.ckpt", model.state_dict()


class Drive(http.server.BaseHTTPRequestHandler):
    """Google Drive as gdown sees it: a page that asks for confirmation, then the file, in parts if asked."""

    requests: list[str]
    broken_after: int | None = None
    answer: str = "file"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        type(self).requests.append(f"{self.path} {self.headers.get('Range', '')}".strip())
        if self.answer != "file":
            content, headers, status = self.answer.encode(), {"Content-Type": "text/html"}, 200
        elif "confirm" not in self.path:
            form = (
                '<form id="download-form" action="https://drive.usercontent.google.com/download?confirm=t&amp;id=x">'
            )
            content, headers, status = f"<html>{form}</form></html>".encode(), {"Content-Type": "text/html"}, 200
        else:
            start = int(self.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
            content, status = CONTENT[start:], 206 if start else 200
            headers = {"Content-Disposition": 'attachment; filename="model.ckpt"', "Content-Type": "application/zip"}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if "Content-Disposition" in headers:
            content, type(self).broken_after = content[: self.broken_after], None
        self.wfile.write(content)


@pytest.fixture
def drive(monkeypatch, tmp_path):
    """A stand-in of Google Drive on loopback, to which every address leads."""
    gdown = pytest.importorskip("gdown")
    import requests

    handler = type("Handler", (Drive,), {"requests": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    class Loopback(requests.adapters.HTTPAdapter):
        def send(self, request, **kwargs):
            path = "/" + request.url.split("/", 3)[3]
            request.url = f"http://127.0.0.1:{server.server_port}{path}"
            return super().send(request, **kwargs)

    module = sys.modules["gdown.download"]
    make_session = module._get_session

    def get_session(**arguments):
        session, cookies = make_session(**arguments)
        session.trust_env = False
        session.mount("https://", Loopback())
        return session, cookies

    monkeypatch.setattr(module, "_get_session", get_session)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert gdown.download
    yield handler
    server.shutdown()
    server.server_close()


def test_the_catalog_names_what_the_authors_published():
    checkpoints = published_checkpoints()
    assert len(checkpoints) == 8
    assert len({entry.drive_id for entry in checkpoints.values()}) == 8
    best = checkpoints["qvhighlights/videolights-b-pt"]
    assert best.metrics["MR-full-mAP"] == 47.94
    assert best.config.video_dim == 3586
    assert checkpoints[NAME].config.clip_length == 1
    with pytest.raises(ValueError, match="Did you mean 'qvhighlights/videolights-b'"):
        get_published_checkpoint("qvhighlight/videolights-b")


def test_the_list_says_where_everything_is():
    listed = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["convert", "--list"])
    assert listed.exit_code == 0
    lines = listed.stdout.splitlines()
    assert len(lines) == 12
    for entry in published_checkpoints().values():
        assert any(line.startswith(entry.name) and line.endswith(entry.page) for line in lines)
    assert any(line.startswith("pretrain_features_qc.tar.gz") and "27.5 GB" in line for line in lines)
    # The same in the docs.
    page = (Path(__file__).parents[2] / "docs" / "published-models.md").read_text()
    assert all(archive.page in page for archive in published_features())


def test_a_file_is_fetched_once_and_then_taken_from_the_cache(drive, tmp_path):
    entry = get_published_checkpoint(NAME)
    path = download_checkpoint(entry, tmp_path)
    assert path.read_bytes() == CONTENT
    assert entry.drive_id in drive.requests[0]
    asked = len(drive.requests)
    assert download_checkpoint(entry, tmp_path) == path
    assert len(drive.requests) == asked


def test_a_download_that_broke_off_continues_where_it_stopped(drive, tmp_path):
    drive.broken_after = 1_200_000
    path = download_checkpoint(get_published_checkpoint(NAME), tmp_path)
    assert path.read_bytes() == CONTENT
    assert any(re.search(r"bytes=[1-9]\d+-", request) for request in drive.requests)


@pytest.mark.parametrize(
    "page",
    ["<html><p class='x'>Sign in</p></html>", '<p class="uc-error-subcaption">Too many users have viewed this</p>'],
)
def test_a_refused_link_is_answered_with_the_page_and_the_command_to_go_on_with(drive, tmp_path, page):
    drive.answer = page
    entry = get_published_checkpoint(NAME)
    with pytest.raises(OSError, match=f"videolights convert {NAME} OUTPUT_DIR --file FILE") as error:
        download_checkpoint(entry, tmp_path)
    assert entry.page in str(error.value)
    assert "\n" not in str(error.value)


def test_offline_says_how_to_go_on(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match=r"HF_HUB_OFFLINE is set.*--file FILE"):
        download_checkpoint(get_published_checkpoint(NAME), tmp_path)


def test_a_published_file_becomes_a_folder_with_a_card(release, tmp_path):
    file, weights = release
    convert_published_checkpoint(NAME, tmp_path / "out", file, {"clip": "someone/clip"})
    model = VideoLightsForMomentRetrieval.from_pretrained(tmp_path / "out")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    processor = VideoLightsProcessor.from_pretrained(tmp_path / "out")
    processor.check_compatible(model.config)
    assert processor.backbone_checkpoints["clip"] == "someone/clip"
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert "As reported by the authors" in card.text
    assert "no license has been named" in card.text
    assert "The authors' code, which trained it: MIT" in card.text
    assert f"converted from `{NAME}` of the [authors' checkpoints]({get_published_checkpoint(NAME).page})" in card.text
    assert "None" not in card.text
    assert {result.metric_type: result.metric_value for result in card.data.eval_results}["MR-full-mIoU"] == 50.2
    # A push writes its card from this.
    assert read_record(tmp_path / "out") == get_published_checkpoint(NAME).record


def test_a_file_of_another_checkpoint_is_refused(release, tmp_path):
    with pytest.raises(ValueError, match=r"not charades_sta/videolights-b: video_backbones is .* instead of") as error:
        convert_published_checkpoint("charades_sta/videolights-b", tmp_path / "out", release[0])
    assert "text_backbones" in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_is_opened(tmp_path, kind):
    members = {"x/opt.json": b"{}", "x/model_best.ckpt": CONTENT, "x/model_latest.ckpt": b"other"}
    path = tmp_path / f"download.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    with unpacked_checkpoint(path) as checkpoint:
        assert checkpoint.read_bytes() == CONTENT
    assert not checkpoint.exists()


def test_an_archive_without_one_checkpoint_is_refused(tmp_path):
    for names, listed in ((["a.txt"], "none"), (["a.ckpt", "b.ckpt"], "a.ckpt, b.ckpt")):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name in names:
                archive.writestr(name, b"")
        with pytest.raises(ValueError, match=f"but holds: {listed}"), unpacked_checkpoint(tmp_path / "x.zip"):
            pass


@pytest.mark.parametrize("part", [b"PK\x01\x02", CONTENT[:8]], ids=["directory", "content"])
def test_a_damaged_archive_is_refused(tmp_path, part):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.ckpt", CONTENT)
    data = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(data.replace(part, bytes(len(part)), 1))
    with pytest.raises(ValueError, match=r"is damaged .*: download it again"), unpacked_checkpoint(tmp_path / "x.zip"):
        pass


def test_a_member_that_declares_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("videolights_hf.convert.published.MAX_CHECKPOINT_BYTES", 10)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.ckpt", bytes(11))
    with pytest.raises(ValueError, match="has 11 bytes, more than 10"), unpacked_checkpoint(tmp_path / "x.zip"):
        pass
