"""The site of the documentation: its pages, their links, `llms.txt`, and nothing that is fetched from elsewhere."""

from __future__ import annotations

import importlib
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml

import docs_hooks
from tests.support.warm import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
# Read where they lie, in a checkout.
OTHERS = ["README.md", "CONTRIBUTING.md", "MODEL_CARD.md", "CHANGELOG.md"]
PACKAGES = [
    "",
    ".app",
    ".backbones",
    ".corpus",
    ".data",
    ".demo",
    ".deploy",
    ".extraction",
    ".metrics",
    ".reproduction",
]
PACKAGES += [".results", ".training", ".visualization"]


class _Settings(yaml.SafeLoader):
    """mkdocs' settings, whose tags of Python are left alone."""


_Settings.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def entries_of(nav: Any) -> list[str]:
    """The pages in mkdocs' `nav`."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [entry for part in parts for entry in entries_of(part)]


def without_code(text: str) -> str:
    """A page's prose."""
    text = re.sub(r"(?ms)^( *)(`{3,}).*?^ *\2\s*?$", "", text)
    text = re.sub(r"(?s)<!--.*?-->", "", text)
    return re.sub(r"`[^`\n]*`", "`code`", text)


def links_of(path: Path) -> list[str]:
    """The addresses of a page's links and pictures, but for those on other hosts."""
    text = without_code(path.read_text(encoding="utf-8"))
    found = re.findall(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)", text)
    found += re.findall(r"(?m)^\[[^\]]+\]:\s+(\S+)", text)
    found += re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    return [address for address in found if not re.match(r"[a-z]+:", address)]


def anchors_of(path: Path) -> set[str]:
    """The anchors that a page has, by Python-Markdown's rule."""
    text = re.sub(r"(?ms)^( *)(`{3,}).*?^ *\2\s*?$", "", path.read_text(encoding="utf-8"))
    anchors = set(re.findall(r"(?:id|name)=\"([^\"]+)\"", text))
    anchors |= set(re.findall(r"(?m)^::: ([\w.]+)", text))
    for heading in re.findall(r"(?m)^#+ (.+?)\s*$", text):
        if given := re.search(r"\{[^}]*#([\w-]+)[^}]*\}$", heading):
            anchors.add(given[1])
            continue
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        number = 0
        while slug + f"_{number}" * bool(number) in anchors:
            number += 1
        anchors.add(slug + f"_{number}" * bool(number))
    return anchors


def problem_of(page: Path, address: str, inside: Path) -> str | None:
    """Why a link of a page leads nowhere."""
    name, _, anchor = address.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.is_relative_to(inside):
        return f"{address} lies outside of {inside.name}/"
    if not target.exists():
        return f"{address} does not exist"
    if anchor and target.suffix == ".md" and anchor not in anchors_of(target):
        return f"{address}: the page has no such anchor, but {', '.join(sorted(anchors_of(target)))}"
    return None


@pytest.mark.parametrize("page", [*(f"docs/{page}" for page in PAGES), *OTHERS])
def test_links_lead_somewhere(page):
    path = ROOT / page
    inside = DOCS if path.is_relative_to(DOCS) else ROOT
    problems = [problem_of(path, address, inside) for address in links_of(path)]
    assert list(filter(None, problems)) == []


def test_links_are_found_and_judged(tmp_path):
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    page.write_text(
        "# A `b` [c](d.md)\n\n[e](other.md#f-g) ![h](i.png)\n```text\n[j](k.md)\n```\n`[l](m)`\n[n]: o.md\n"
    )
    other.write_text("# F, g\n\n# F, g\n\n# Own {#mine}\n\n```text\n# no\n```\n")
    assert links_of(page) == ["d.md", "other.md#f-g", "i.png", "o.md"]
    assert anchors_of(page) == {"a-b-c"}
    assert anchors_of(other) == {"f-g", "f-g_1", "mine"}
    assert problem_of(page, "other.md#f-g_1", tmp_path) is None
    assert "no such anchor" in problem_of(page, "other.md#no", tmp_path)
    assert "does not exist" in problem_of(page, "i.png", tmp_path)
    assert "outside" in problem_of(page, "../x.md", tmp_path)


def test_every_page_is_in_the_navigation_once():
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=_Settings)
    assert sorted(entries_of(settings["nav"])) == PAGES


def test_llms_txt():
    """The form of llmstxt.org: a title, a summary, and sections of links with a note each."""
    lines = [line for line in (DOCS / "llms.txt").read_text(encoding="utf-8").splitlines() if line]
    assert lines[0].startswith("# ")
    assert lines[1].startswith("> ")
    start = next(number for number, line in enumerate(lines) if line.startswith("## "))
    assert not any(line.startswith(("#", "-")) for line in lines[2:start])
    links = []
    for line in lines[start:]:
        found = re.fullmatch(r"- \[[^\]]+\]\(([^)]+)\): \S.*", line)
        assert found or line.startswith("## "), f"neither a section nor a link with a note: {line}"
        links += [found[1]] if found else []
    assert len(links) == len(set(links))
    assert [link for link in links if not (DOCS / link).is_file()] == []
    assert sorted(set(PAGES) - set(links)) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_has_every_public_name(package):
    text = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    directives = re.findall(r"(?m)^::: ([\w.]+)$", text)
    shown = {directive.rpartition(".")[2] for directive in directives}
    for room in PACKAGES:
        if f"videolights_hf{room}" in directives:
            shown |= set(importlib.import_module(f"videolights_hf{room}").__all__)
    assert sorted(set(importlib.import_module(f"videolights_hf{package}").__all__) - shown) == []


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ('<script src="https://x.org/a.js"></script>', ["https://x.org/a.js"]),
        ('<link rel="stylesheet" href="//x.org/a.css">', ["//x.org/a.css"]),
        ('<img src="https://x.org/a.png">', ["https://x.org/a.png"]),
        ("<style>@import 'https://x.org/a.css'; a { background: url(//x.org/b.png) }</style>", 2),
        ('<p style="background: url(https://x.org/b.png)">', ["https://x.org/b.png"]),
        ('<a href="https://x.org">x</a><link rel="canonical" href="https://x.org"><script src="a.js"></script>', []),
        ('<img src="data:image/png;base64,//8="><p>url(https://x.org)</p>', []),
    ],
)
def test_what_a_page_fetches(page, found, tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "index.html").write_text(page)
    (tmp_path / "a" / "plain.txt").write_text(page)
    addresses = docs_hooks.fetched_from_elsewhere(tmp_path)
    if isinstance(found, int):
        assert len(addresses) == found
    else:
        assert addresses == [f"a/b/index.html: {address}" for address in found]


def test_references_of_docstrings_lose_their_brackets():
    html = docs_hooks.on_page_content("<p>See [<code>~a.B</code>], <code>[c]</code> and [<a href='d'>e</a>].</p>")
    assert html == "<p>See <code>a.B</code>, <code>[c]</code> and [<a href='d'>e</a>].</p>"


def test_what_a_style_sheet_fetches(tmp_path):
    (tmp_path / "a.css").write_text("a { background: url('https://x.org/b.png') } b { src: url(b.woff2) }")
    assert docs_hooks.fetched_from_elsewhere(tmp_path) == ["a.css: https://x.org/b.png"]
