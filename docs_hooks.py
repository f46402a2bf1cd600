"""What `mkdocs build` does beside pages: it serves their sources (for `llms.txt`), and looks for what a page would fetch."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

_FETCHING = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "input": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "source": "src",
    "track": "src",
    "video": "src",
}
"""Tags that make a browser fetch an address, and the attribute that names it."""

# These say what a page is or belongs to, and are not fetched.
_NOT_FETCHED = {"alternate", "author", "canonical", "license", "next", "prev"}
_ELSEWHERE = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)
_STYLE_ADDRESSES = re.compile(r"(?:url\(\s*|@import\s+)['\"]?([^'\")\s]+)", re.IGNORECASE)


class _Fetched(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self._in_style = tag == "style"
        if tag in _FETCHING and not (tag == "link" and set(values.get("rel", "").split()) <= _NOT_FETCHED):
            self.addresses.append(values.get(_FETCHING[tag], ""))
        self.addresses += _STYLE_ADDRESSES.findall(values.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.addresses += _STYLE_ADDRESSES.findall(data)


def fetched_from_elsewhere(site: Path) -> list[str]:
    """What pages and style sheets of a built site fetch from other hosts, as `file: address`."""
    found = []
    for path in sorted(site.rglob("*")):
        if path.suffix == ".html":
            page = _Fetched()
            page.feed(path.read_text(encoding="utf-8"))
            addresses = page.addresses
        elif path.suffix == ".css":
            addresses = _STYLE_ADDRESSES.findall(path.read_text(encoding="utf-8"))
        else:
            continue
        name = path.relative_to(site).as_posix()
        found += [f"{name}: {address}" for address in addresses if _ELSEWHERE.match(address)]
    return found


def on_page_content(html: str, **_: Any) -> str:
    """Show transformers' form of references in docstrings, [`~module.Name`], as code without the brackets."""
    return re.sub(r"\[<code>~?([\w.]+)</code>\]", r"<code>\1</code>", html)


def on_post_build(config: Any) -> None:
    """Copy the sources of the pages, and fail if the site fetches anything from elsewhere."""
    source, site = Path(config["docs_dir"]), Path(config["site_dir"])
    for page in source.rglob("*.md"):
        shutil.copyfile(page, site / page.relative_to(source))
    if found := fetched_from_elsewhere(site):
        from mkdocs.exceptions import PluginError

        raise PluginError("The site must fetch nothing from elsewhere:\n" + "\n".join(found))
