"""How the app looks, and which action each part of it starts (needs gradio)."""

from __future__ import annotations

import contextvars
import html
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import gradio as gr

from ..results.picture import picture_script, picture_style
from .actions import EXPORTS, Actions, AppError, Export, Message, SavedFile
from .sessions import Session

TITLE = "VideoLights"
_INTRODUCTION = (
    "Choose a video or upload one, say what to look for, and see where it is. Uploads are deleted when you leave."
)


def page_head() -> str:
    """What the app puts into the head of its page: its styles and scripts."""
    own = files(__package__)
    style = picture_style() + (own / "app.css").read_text(encoding="utf-8")
    script = picture_script() + (own / "app.js").read_text(encoding="utf-8")
    return f"<style>{style}</style><script>{script}</script>"


def page_theme() -> gr.themes.Base:
    """Gradio's look with the fonts of the reader's system: others would be fetched from elsewhere."""
    return gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


def build_page(actions: Actions) -> gr.Blocks:
    """The page of the app."""
    labels = list(actions.videos)
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(f"<h1>{TITLE}</h1><p>{html.escape(_INTRODUCTION)}</p>", elem_classes="intro")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                chosen = gr.Radio(labels, value=labels[0], label="Video", elem_id="chosen")
                uploaded = gr.File(label="Or upload one", file_types=["video"], height=150, elem_id="upload")
                sentences = gr.Textbox(
                    label="What to look for",
                    info="One sentence on each line. None: highlights.",
                    placeholder="a dog runs on the beach",
                    lines=3,
                    max_lines=8,
                    elem_id="sentences",
                )
                find = gr.Button("Find", variant="primary", elem_id="find")
                message = gr.HTML(
                    html_template='<p class="message" role="status" aria-live="polite"></p>',
                    js_on_load="videolightsShowMessage(element, props, watch)",
                    elem_id="message",
                )
            with gr.Column(scale=3, min_width=300):
                picture = gr.HTML(
                    html_template='<div class="picture"></div>',
                    js_on_load="videolightsShowPicture(element, props, watch)",
                    apply_default_css=False,
                    elem_id="picture",
                )
                with gr.Column(visible=False, elem_classes="saves") as saves:
                    gr.HTML("<h2>Save</h2>")
                    with gr.Row():
                        buttons = [(gr.Button(export.label, size="sm"), export) for export in EXPORTS]

        shown = [picture, message, saves]
        quick: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 8}
        slow: dict[str, Any] = {"api_visibility": "private", "show_progress_on": message}
        page.load(_choose(actions), chosen, [*shown, sentences], **quick)
        chosen.input(_choose(actions), chosen, [*shown, sentences], **quick)
        uploaded.upload(_upload(actions), uploaded, [*shown, sentences, uploaded], **quick)
        gr.on(
            [find.click, sentences.submit],
            _ask(actions),
            sentences,
            shown,
            concurrency_limit=actions.settings.max_queue,
            **slow,
        )
        for button, export in buttons:
            button.click(_save(actions, export), None, message, concurrency_id="save", concurrency_limit=2, **slow)
        page.unload(_leave(actions))
    return page.queue(max_size=2 * actions.settings.max_queue)


def _say(text: str, is_error: bool = False, file: SavedFile | None = None) -> Message:
    return {"text": text, "is_error": is_error, "file": file}


def _session(actions: Actions, request: gr.Request) -> Session:
    return actions.sessions.get(request.session_hash or "")


def _choose(actions: Actions) -> Callable[..., Any]:
    def choose(label: str, request: gr.Request) -> tuple[Any, ...]:
        try:
            shown = actions.choose(_session(actions, request), label)
        except AppError as error:
            return gr.skip(), _say(str(error), True), gr.skip(), gr.skip()
        return shown, _say(""), gr.update(visible=False), "\n".join(actions.videos[label].examples)

    return choose


def _upload(actions: Actions) -> Callable[..., Any]:
    def upload(path: str | None, request: gr.Request) -> tuple[Any, ...]:
        # The field is emptied for the next one: what was uploaded is shown in the picture.
        if path is None:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip(), None
        try:
            shown = actions.upload(_session(actions, request), path)
        except AppError as error:
            return gr.skip(), _say(str(error), True), gr.skip(), gr.skip(), None
        said = f"{shown['title']} is here: say what to look for."
        return shown, _say(said), gr.update(visible=False), "", None

    return upload


def _ask(actions: Actions) -> Callable[..., Any]:
    def ask(text: str, request: gr.Request, progress: gr.Progress = gr.Progress()) -> Iterator[tuple[Any, ...]]:  # noqa: B008  Gradio's way to pass it
        yield gr.skip(), _say("Looking ..."), gr.skip()
        progress(0, desc="Waiting for the model")
        # The worker's thread knows nothing of the page that asks.
        context = contextvars.copy_context()
        try:
            shown, said = actions.ask(
                _session(actions, request),
                text or "",
                lambda part: context.run(progress, part, desc="Encoding the video" if part < 1 else "Finding moments"),
            )
        except AppError as error:
            yield gr.skip(), _say(str(error), True), gr.skip()
            return
        yield shown, _say(said), gr.update(visible=True)

    return ask


def _save(actions: Actions, export: Export) -> Callable[..., Any]:
    def save(request: gr.Request) -> Message:
        try:
            file = actions.export(_session(actions, request), export)
        except AppError as error:
            return _say(str(error), True)
        return _say("Saved:", file=file)

    return save


def _leave(actions: Actions) -> Callable[..., Any]:
    def leave(request: gr.Request) -> None:
        actions.sessions.leave(request.session_hash or "")

    return leave


__all__ = ["TITLE", "build_page", "page_head", "page_theme"]
