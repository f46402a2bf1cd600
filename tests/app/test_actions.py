"""What people can do at the app, without its page."""

from __future__ import annotations

import csv
import json
import threading
import time
import zipfile
from pathlib import Path

import pytest

from videolights_hf.app.actions import EXPORTS, Actions, AppError
from videolights_hf.app.detectors import Detector
from videolights_hf.app.settings import AppSettings
from videolights_hf.demo import demo_videos
from videolights_hf.inference.generic import GENERIC_NAME

VIDEO = demo_videos() / "demo_0_00001.mp4"
BUNDLED_NAME = "Colored shapes 1 (bundled)"


@pytest.fixture(scope="module")
def actions(detectors):
    actions = Actions(AppSettings(max_sentences=3), *detectors)
    yield actions
    actions.close()


@pytest.fixture
def session(actions):
    return actions.sessions.get("page")


def ask(actions, session, text, progress=None):
    return actions.ask(session, text, (progress if progress is not None else []).append)


def upload(actions, session, content=None, name="a trip.mp4"):
    folder = actions.sessions.uploads / name.replace(" ", "-")
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(VIDEO.read_bytes() if content is None else content)
    return actions.upload(session, str(folder / name))


def file_of(actions, address):
    _, key, name = address.partition("?")[0].split("/")
    return actions.sessions.find_file(key, name.replace("%20", " "))


def test_bundled_videos_are_offered_with_sentences_and_answered_by_the_bundled_model(actions, session):
    assert next(iter(actions.videos)) == BUNDLED_NAME
    assert len(actions.videos) == 3
    shown = actions.choose(session, BUNDLED_NAME)
    assert shown["predictions"] == []
    assert file_of(actions, shown["video"]) == actions.videos[BUNDLED_NAME].path
    progress = []
    shown, said = ask(actions, session, "\n".join(actions.videos[BUNDLED_NAME].examples), progress)
    assert [one["query"] for one in shown["predictions"]] == list(actions.videos[BUNDLED_NAME].examples)
    # As the bundled model's card says of its video: from 15 to 25 s.
    assert any(abs(one["start"] - 15) <= 1 and abs(one["end"] - 25) <= 1 for one in shown["predictions"][0]["moments"])
    assert shown["predictions"][0]["highlights"][0]["picture"].startswith("data:image/jpeg;base64,")
    assert "moments, found by the bundled model" in said
    assert progress[-1] == 1.0
    assert progress == sorted(progress)


def test_a_video_is_encoded_once_for_all_questions_and_all_people(actions):
    first, second = actions.sessions.get("first"), actions.sessions.get("second")
    for session in (first, second):
        actions.choose(session, "Colored shapes 2 (bundled)")
    progress = []
    ask(actions, first, "a red circle", progress)
    assert progress
    progress.clear()
    ask(actions, first, "a blue square", progress)
    ask(actions, second, "a red circle", progress)
    assert progress == []


def test_a_video_that_the_service_has_forgotten_is_encoded_again(actions, session):
    actions.choose(session, BUNDLED_NAME)
    ask(actions, session, "a red circle")
    actions._bundled.load().remove(session.video.key)
    progress = []
    shown, _ = ask(actions, session, "a red circle", progress)
    assert progress
    assert shown["predictions"][0]["moments"]


def test_an_upload_is_answered_by_the_general_model_and_without_a_sentence_by_highlights(actions, session):
    shown = upload(actions, session)
    assert shown["title"] == "a trip.mp4"
    shown, said = ask(actions, session, "\n \n")
    assert [one["query"] for one in shown["predictions"]] == [GENERIC_NAME]
    assert shown["predictions"][0]["highlights"]
    assert "found by zero-shot. It compares" in said


def test_everything_found_can_be_saved_and_nothing_tells_where_the_server_keeps_it(actions, session):
    upload(actions, session)
    with pytest.raises(AppError, match="Nothing was found yet"):
        actions.export(session, EXPORTS[0])
    ask(actions, session, "a red circle")
    paths = {}
    for export in EXPORTS:
        file = actions.export(session, export)
        assert file["name"] == "a trip" + export.ending
        paths[export.format] = path = file_of(actions, file["address"])
        assert path.is_relative_to(session.folder)
        assert path.stat().st_size > 0
        if export.format not in ("cuts", "reel", "gif"):
            assert str(session.folder.parent) not in path.read_text(encoding="utf-8")
    assert json.loads(paths["json"].read_text())["video"] == "a trip.mp4"
    moments = json.loads(paths["json"].read_text())["predictions"][0]["moments"]
    assert len(list(csv.reader(paths["csv"].open()))) == len(moments) + 1
    assert '"a%20trip.mp4"' in paths["otio"].read_text()
    assert 'src="data:video/mp4;base64,' in paths["embedded html"].read_text()
    with zipfile.ZipFile(paths["cuts"]) as archive:
        assert len(archive.namelist()) == len(moments)
        assert all(name.startswith("a-red-circle_") for name in archive.namelist())


def test_what_one_person_has_is_not_told_to_another(actions):
    mine, other = actions.sessions.get("mine"), actions.sessions.get("other")
    address = upload(actions, mine)["video"]
    actions.choose(other, BUNDLED_NAME)
    name = address.partition("?")[0].rsplit("/", 1)[1]
    assert actions.sessions.find_file(mine.key, name) == mine.video.path
    assert actions.sessions.find_file(other.key, "saved.json") is None
    assert actions.sessions.find_file("", name) is None
    assert actions.sessions.find_file("mine", name) is None
    assert other.answers is None
    # And what was chosen before is gone.
    path = mine.video.path
    upload(actions, mine, name="b.mp4")
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"This is not a video.", "The file"), (b"", "The file"), (b"#EXTM3U\n/etc/passwd", "playlist")],
)
def test_a_file_that_is_no_video_is_refused_in_words(actions, session, content, message):
    with pytest.raises(AppError, match=message) as error:
        upload(actions, session, content)
    assert str(session.folder) not in str(error.value)
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize("path", ["/etc/passwd", str(VIDEO), "../../etc/passwd", "", "/no/such/file"])
def test_only_uploads_are_taken_as_uploads(actions, session, path):
    with pytest.raises(AppError, match="upload it again"):
        actions.upload(session, path)


def test_a_link_in_the_uploads_is_not_followed(actions, session):
    link = actions.sessions.uploads / "link.mp4"
    link.symlink_to(VIDEO)
    with pytest.raises(AppError, match="upload it again"):
        actions.upload(session, str(link))
    link.unlink()


def test_limits_are_told_in_words(detectors):
    actions = Actions(AppSettings(max_minutes=0.5, max_sentences=1), *detectors)
    try:
        session = actions.sessions.get("page")
        with pytest.raises(AppError, match=r"The video lasts \d\d:\d\d, and the server takes 0.5 minutes"):
            upload(actions, session)
        with pytest.raises(AppError, match="Choose a video first"):
            ask(actions, session, "a red circle")
        actions.choose(session, BUNDLED_NAME)
        with pytest.raises(AppError, match="These are 2 sentences: ask for 1"):
            ask(actions, session, "a\nb")
        with pytest.raises(AppError, match="Choose a video from the list"):
            actions.choose(session, "/etc/passwd")
        # Refused files are not kept.
        assert list(session.folder.iterdir()) == []
    finally:
        actions.close()
    actions = Actions(AppSettings(max_megabytes=0.01), *detectors)
    try:
        with pytest.raises(AppError, match=r"larger than 0.01 MB"):
            upload(actions, actions.sessions.get("page"))
    finally:
        actions.close()


def test_a_model_that_is_not_there_is_said_in_words_and_others_go_on(detectors):
    def fail():
        raise OSError("We couldn't connect to the Hub to load /srv/secret")

    actions = Actions(AppSettings(), Detector("zero-shot", fail), detectors[1])
    try:
        session = actions.sessions.get("page")
        upload(actions, session)
        with pytest.raises(AppError, match=r"The model \(zero-shot\) is not on this server.*--model") as error:
            ask(actions, session, "a red circle")
        assert "secret" not in str(error.value)
        actions.choose(session, BUNDLED_NAME)
        assert ask(actions, session, "a red circle")[0]["predictions"]
    finally:
        actions.close()


def test_an_answer_about_a_video_that_was_left_is_not_shown(actions, session):
    actions.choose(session, "Colored shapes 3 (bundled)")
    begun, chosen = threading.Event(), threading.Event()

    def wait(part):
        begun.set()
        chosen.wait(60)

    def choose_another():
        begun.wait(60)
        actions.choose(session, BUNDLED_NAME)
        chosen.set()

    thread = threading.Thread(target=choose_another)
    thread.start()
    with pytest.raises(AppError, match="Another video was chosen in the meantime"):
        actions.ask(session, "a red circle", wait)
    thread.join()
    assert session.answers is None


def test_files_go_when_a_page_is_closed_or_silent_and_at_the_end(detectors):
    actions = Actions(AppSettings(grace_seconds=0, keep_minutes=1), *detectors)
    root = actions.sessions.uploads.parent
    session = actions.sessions.get("closed")
    upload(actions, session)
    ask(actions, session, "a red circle")
    assert actions._general.load().num_videos == 1
    actions.sessions.leave("closed")
    assert not session.folder.exists()
    assert actions._general.load().num_videos == 0
    silent, busy = actions.sessions.get("silent"), actions.sessions.get("busy")
    silent.expires = time.monotonic() - 1
    actions.sessions.sweep()
    assert not silent.folder.exists()
    assert busy.folder.exists()
    assert actions.sessions.get("silent").key != silent.key
    # An upload that no page has asked for.
    old = actions.sessions.uploads / "old.mp4"
    old.write_bytes(b"0")
    actions.sessions.sweep()
    assert old.exists()
    actions.sessions.keep_seconds = -1
    actions.sessions.sweep()
    assert not old.exists()
    actions.close()
    assert not root.exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_sentences": 0}, "max_sentences"),
        ({"max_minutes": 0}, "max_minutes"),
        ({"max_megabytes": -1}, "max_megabytes"),
        ({"keep_minutes": 0}, "keep_minutes"),
        ({"grace_seconds": -1}, "grace_seconds"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        AppSettings(**setting)


def test_the_operators_videos_come_first(tmp_path, detectors):
    (tmp_path / "a").mkdir()
    paths = [tmp_path / "trip.mp4", tmp_path / "a" / "trip.mp4"]
    for path in paths:
        path.write_bytes(VIDEO.read_bytes())
    actions = Actions(AppSettings(videos=tuple(paths)), *detectors)
    assert list(actions.videos)[:2] == ["trip.mp4", "trip.mp4 (another)"]
    assert [actions.videos[name].path for name in list(actions.videos)[:2]] == paths
    assert not actions.videos["trip.mp4"].is_bundled
    actions.close()
    assert all(path.exists() for path in paths)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        AppSettings(videos=(Path("nowhere.mp4"),))
