"""The app in a real browser: it is used as people use it. `VIDEOLIGHTS_SCREENSHOTS=DIR` saves what it looks like."""

from __future__ import annotations

import re

import pytest

from tests.support.browser import chromium, shoot
from videolights_hf import VideoMomentRetrievalPipeline
from videolights_hf.app import AppSettings, running_app
from videolights_hf.demo import demo_checkpoint, demo_videos
from videolights_hf.results import FORMATS, VideoAnswers

VIDEO = demo_videos() / "demo_0_00000.mp4"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PLAYER = "document.querySelector('#picture video')"


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def app(detectors, browser):
    with running_app(AppSettings(max_megabytes=1), detectors, host="127.0.0.1") as app:
        yield app


@pytest.fixture
def opened(browser, app):
    """Opens the app's page; what the browser asks for and complains about is noted."""
    contexts, foreign, complaints = [], [], []

    def open_page(**options):
        context = browser.new_context(**{"viewport": DESKTOP, **options})
        contexts.append(context)
        page = context.new_page()
        page.on(
            "request", lambda sent: sent.url.startswith((app.address, "data:", "blob:")) or foreign.append(sent.url)
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(app.address)
        page.wait_for_function(f"{PLAYER}?.readyState >= 1")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert foreign == []
    assert complaints == []


def find(page, *sentences):
    page.get_by_label("What to look for").fill("\n".join(sentences))
    page.get_by_role("button", name="Find").click()
    page.wait_for_function("document.querySelector('.message').textContent.includes('found by')")


def message_of(page):
    return page.locator("#message [role=status]")


def time_of(page):
    return page.evaluate(f"{PLAYER}.currentTime")


def plays_from(page, start, end):
    """Wait until the player is inside a stretch, and plays."""
    page.wait_for_function(f"{PLAYER}.currentTime >= {start} && {PLAYER}.currentTime < {end} && !{PLAYER}.paused")


def seconds(clock):
    minutes, rest = clock.split(":")
    return 60 * int(minutes) + float(rest)


def test_upload_ask_go_there_and_save(opened, tmp_path):
    page = opened()
    assert page.get_by_role("heading", name="VideoLights").is_visible()
    with page.expect_file_chooser() as chooser:
        page.locator("#upload button").first.click()
    video = tmp_path / "My trip.mp4"
    video.write_bytes(VIDEO.read_bytes())
    chooser.value.set_files(video)
    page.get_by_text("My trip.mp4 is here").wait_for()
    find(page, "a red star", "a purple heart")
    assert "found by zero-shot. It compares" in message_of(page).inner_text()
    assert page.locator("#picture .row").count() == 2
    # A moment.
    moment = page.locator("#picture .moment").first
    start, end = map(seconds, re.findall(r"\d\d:\d\d\.\d", moment.inner_text()))
    moment.click()
    plays_from(page, start, end)
    # Its band, which is the same one.
    page.evaluate(f"{PLAYER}.currentTime = 0")
    page.locator("#picture .band").first.click()
    plays_from(page, start, end)
    # It stops at the end of the moment.
    page.evaluate(f"{PLAYER}.currentTime = {end - 0.3}")
    page.wait_for_function(f"{PLAYER}.paused")
    assert end <= time_of(page) < end + 1
    # The curve, at three quarters of its width.
    box = page.locator("#picture .rows").bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 30)
    page.wait_for_function(f"Math.abs({PLAYER}.currentTime - 54) < 0.5")
    # The cursor follows when the player says so.
    left = "document.querySelector('#picture .cursor').getBoundingClientRect().left"
    page.wait_for_function(f"Math.abs({left} + 1 - {box['x'] + 0.75 * box['width']}) < 4")
    # A thumbnail.
    highlight = page.locator("#picture .highlight").first
    assert highlight.locator("img").evaluate("image => image.naturalWidth") > 50
    start = seconds(highlight.inner_text().strip())
    highlight.click()
    plays_from(page, start, start + 1)
    # A file.
    with page.expect_download() as download:
        page.get_by_role("button", name="EDL").click()
    assert download.value.suggested_filename == "My trip.edl"
    assert "a red star" in download.value.path().read_text()


def test_one_moment_plays_in_a_loop(opened):
    page = opened()
    find(page, "There is a red circle on stripes.", "a purple heart")
    moment, loop = page.locator("#picture .moment").first, page.locator("#picture .loop").first
    start, end = map(seconds, re.findall(r"\d\d:\d\d\.\d", moment.inner_text()))
    loop.click()
    plays_from(page, start, end)
    assert loop.get_attribute("aria-pressed") == "true"
    shoot(page, "app")
    for _ in range(2):
        page.evaluate(f"{PLAYER}.currentTime = {end - 0.3}")
        page.wait_for_function(f"{PLAYER}.currentTime < {end - 1}")
        plays_from(page, start, end)
    # Elsewhere the loop is over.
    page.evaluate(f"{PLAYER}.currentTime = 0")
    page.wait_for_function("document.querySelector('.loop').getAttribute('aria-pressed') === 'false'")


def test_what_goes_wrong_is_said(opened, tmp_path):
    page = opened()
    text = tmp_path / "notes.mp4"
    text.write_text("This is not a video.")
    page.locator("#upload input[type=file]").set_input_files(text)
    message_of(page).get_by_text("The file cannot be read as a video").wait_for()
    assert message_of(page).get_attribute("class") == "message is-error"
    # What was there is still there.
    assert page.evaluate(f"{PLAYER}.readyState") >= 1
    find(page, "a red circle")
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(1_500_000))
    page.locator("#upload input[type=file]").set_input_files(large)
    page.get_by_text("exceed the maximum allowed size").first.wait_for()


def test_it_fits_a_phone(opened):
    page = opened(viewport=PHONE, has_touch=True, is_mobile=True)
    find(page, "a red star past a brick wall, which is a long sentence for a phone", "a purple heart")
    # Nothing is wider than the screen, and what was found comes into view.
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.wait_for_function("document.querySelector('#picture video').getBoundingClientRect().top < innerHeight / 2")
    shoot(page, "app-phone")
    for kind in (".moment", ".loop", ".highlight"):
        box = page.locator(f"#picture {kind}").first.bounding_box()
        assert min(box["width"], box["height"]) >= 44
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
    page.locator("#picture .moment").first.tap()
    page.wait_for_function(f"!{PLAYER}.paused && {PLAYER}.currentTime > 1")


def test_the_keyboard_alone_is_enough(opened, app):
    page = opened()
    sentence = app.actions.videos["Colored shapes 2 (bundled)"].examples[0]

    def focused(script):
        return page.evaluate(f"(element => {script})(document.activeElement)")

    def tab_until(wanted):
        for _ in range(40):
            page.keyboard.press("Tab")
            if focused(wanted):
                # Where the focus is can be seen.
                assert focused(
                    "getComputedStyle(element).outlineStyle !== 'none' || getComputedStyle(element).boxShadow !== 'none'"
                ), wanted
                return
        raise AssertionError(f"Tab does not lead to {wanted}")

    # The list of videos.
    tab_until("element.closest('#chosen')")
    page.keyboard.press("ArrowDown")
    page.wait_for_function(f"{PLAYER}.getAttribute('aria-label') === 'Video: demo_0_00001.mp4'")
    tab_until("element.matches('#upload button')")
    tab_until("element.matches('#sentences textarea')")
    page.keyboard.press("Control+a")
    page.keyboard.type(sentence)
    tab_until("element.id === 'find'")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.message').textContent.includes('found by')")
    # The curves, in clips of one second.
    tab_until("element.getAttribute('role') === 'slider'")
    assert focused("element.getAttribute('aria-label')") == "Time in the video"
    for key, time in (("End", None), ("Home", 0), ("ArrowRight", 1), ("PageUp", 11), ("ArrowLeft", 10)):
        page.keyboard.press(key)
        if time is not None:
            page.wait_for_function(f"{PLAYER}.currentTime === {time}")
    page.wait_for_function("document.querySelector('.rows').getAttribute('aria-valuetext').startsWith('00:10.0')")
    assert focused("element.getAttribute('aria-valuenow')") == "10.0"
    tab_until("element.matches('.moment')")
    name = focused("element.getAttribute('aria-label')")
    assert re.fullmatch(
        rf"Play moment 1 of: {re.escape(sentence)}, \d\d:\d\d\.\d to \d\d:\d\d\.\d, score \d\.\d\d", name
    )
    page.keyboard.press("Enter")
    page.wait_for_function(f"!{PLAYER}.paused")
    tab_until("element.matches('.loop')")
    page.keyboard.press("Space")
    assert focused("element.getAttribute('aria-pressed')") == "true"
    tab_until("element.textContent.trim() === 'JSON'")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "demo_0_00001.json"


def test_without_a_sentence_there_are_highlights_and_every_control_has_a_name(opened):
    page = opened()
    find(page)
    assert page.locator("#picture .row").all_inner_texts()[0].strip().startswith("highlights")
    assert page.locator("#picture .highlight img").count() >= 1
    assert page.evaluate("document.documentElement.lang")
    names = page.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea, video, [role=slider]')]
            .filter(one => one.checkVisibility() && !one.closest('[aria-hidden=true]'))
            .map(one => [one.outerHTML.slice(0, 120), (one.getAttribute('aria-label') || one.title || one.textContent
                || [...(one.labels || [])].map(label => label.textContent).join(' ')).trim()])"""
    )
    assert len(names) > 15
    assert [shown for shown, name in names if not name] == []


def test_two_people_at_once_see_their_own(opened):
    pages = [opened(), opened()]
    pages[1].locator("#upload input[type=file]").set_input_files(demo_videos() / "demo_0_00002.mp4")
    pages[1].get_by_text("demo_0_00002.mp4 is here").wait_for()
    sentences = ["a red circle", "a blue square"]
    for page, sentence in zip(pages, sentences, strict=True):
        page.get_by_label("What to look for").fill(sentence)
        page.get_by_role("button", name="Find").click()
    sources = []
    for page, sentence in zip(pages, sentences, strict=True):
        page.wait_for_function("document.querySelector('.message').textContent.includes('found by')")
        assert page.locator("#picture .row").all_inner_texts()[0].startswith(sentence)
        sources.append(page.evaluate(f"{PLAYER}.src"))
    assert "bundled model" in message_of(pages[0]).inner_text()
    assert "zero-shot" in message_of(pages[1]).inner_text()
    assert sources[0].split("/")[-2] != sources[1].split("/")[-2]


def test_the_page_of_predict_is_the_same_picture(browser, tmp_path):
    finder = VideoMomentRetrievalPipeline.from_pretrained(demo_checkpoint(), device="cpu")
    video = tmp_path / "trip.mp4"
    video.write_bytes(VIDEO.read_bytes())
    sentences = ["a red circle", "a <b>purple</b> heart"]
    FORMATS["html"].write(VideoAnswers(str(video), "demo", finder(str(video), sentences)), tmp_path / "page.html")
    page = browser.new_page(viewport=DESKTOP)
    foreign, complaints = [], []
    page.on("request", lambda sent: sent.url.startswith(("file:", "data:")) or foreign.append(sent.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_function("document.querySelector('video').readyState >= 1")
    shoot(page, "page")
    assert page.locator("h3").all_inner_texts() == sentences
    moment = page.locator(".moment").first
    start, end = map(seconds, re.findall(r"\d\d:\d\d\.\d", moment.inner_text()))
    moment.click()
    page.wait_for_function(
        f"(player => player.currentTime >= {start} && player.currentTime < {end})(document.querySelector('video'))"
    )
    assert (foreign, complaints) == ([], [])
    page.close()
