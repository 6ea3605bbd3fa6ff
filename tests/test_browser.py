"""The rendered site as readers meet it: in a browser, by keyboard, on a phone, without script."""

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import Once
from rich.console import Console

from medbook._book import site
from medbook._book.pages import systems
from medbook._book.project import Project

ROOT = Path(__file__).parents[1]
PROJECT = Project(ROOT)
SYSTEMS = list(systems.entries(PROJECT))
PAGES = [*site.entries((ROOT / "_toc.yml").read_bytes()), *SYSTEMS]
CHAPTER = "book/notebooks/unlearnable_examples"
HOME, SCOREBOARD = "book/intro", "book/scoreboard"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LAPTOP = {"width": 1200, "height": 800}

pytestmark = pytest.mark.slow


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without writing a log."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def html(browser, once: Once) -> Path:  # where there is no browser, nothing needs to be rendered
    once("site", lambda _: site.build(PROJECT, Console(quiet=True)))
    return PROJECT.build / "html"


@pytest.fixture(scope="module")
def address(html: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(html)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


class Visit:
    """One page in a window of its own, with everything that went wrong on it."""

    def __init__(self, page, address: str) -> None:
        self.page, self.address = page, address
        self.problems: list[str] = []
        page.on("console", lambda m: m.type == "error" and self.problems.append(m.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("response", lambda r: r.status >= 400 and self.problems.append(r.url))
        page.on("request", self._refuse_foreign)

    def _refuse_foreign(self, request) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.problems.append(f"asked another server: {request.url}")

    def open(self, entry: str):
        self.page.goto(f"{self.address}/{entry}.html", wait_until="networkidle")
        return self.page


@pytest.fixture
def visit(browser, address: str):
    """Opens pages; at the end nothing may have gone wrong on any of them."""
    contexts, visits = [], []

    def start(entry: str, **options):
        contexts.append(browser.new_context(**{"viewport": DESKTOP} | options))
        visits.append(Visit(contexts[-1].new_page(), address))
        return visits[-1].open(entry)

    yield start
    for context in contexts:
        context.close()
    assert [problem for one in visits for problem in one.problems] == []


@pytest.mark.parametrize("entry", PAGES)
def test_a_page_loads_alone_and_says_what_its_pictures_show(visit, entry: str) -> None:
    page = visit(entry)  # errors and requests elsewhere: see `visit`
    assert page.locator("article h1").count() == 1
    assert page.evaluate("() => typeof MathJax === 'object'") or not page.locator(".math").count()
    pictures = page.locator("article").locator("img, svg[role=img]").all()
    for picture in pictures:
        said = picture.get_attribute("alt") or picture.locator("title").first.text_content()
        assert said and len(said.split()) > 1, picture.get_attribute("src")
        assert not re.search(r"\.(png|svg|jpe?g)$|^[0-9a-f]{16,}", said), said
    assert entry != CHAPTER or len(pictures) > 5


@pytest.mark.parametrize("entry", PAGES)
def test_nothing_overflows_a_phone(visit, entry: str) -> None:
    page = visit(entry, viewport=PHONE, color_scheme="light")
    for scheme in ("light", "dark"):  # one after the other, as a phone does at sunset
        page.emulate_media(color_scheme=scheme)
        page.locator(f"html[data-theme={scheme}]").wait_for(timeout=10_000)
        assert page.evaluate(TOO_WIDE) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("entry", [CHAPTER, HOME, SCOREBOARD, SYSTEMS[0]])
def test_text_can_be_read(visit, entry: str, scheme: str) -> None:
    """Contrast of at least 4.5 to 1 (WCAG 2.1, 1.4.3) for all text of a page."""
    page = visit(entry, color_scheme=scheme)
    assert page.locator("html").get_attribute("data-theme") == scheme
    assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("chapter", PROJECT.listed())
def test_code_of_definitions_is_seen_without_scrolling(visit, chapter: str) -> None:
    """88 columns fit beside both contents at the width of a small laptop."""
    page = visit(f"book/notebooks/{chapter}", viewport=LAPTOP)
    code = page.locator(".cell.tag_define .highlight pre")
    assert code.count() > 0
    assert code.evaluate_all(SCROLLS) == []


def test_a_line_that_is_too_long_is_noticed(visit) -> None:
    page = visit(CHAPTER, viewport=LAPTOP)
    code = page.locator(".cell.tag_define .highlight pre")
    code.first.evaluate("node => node.append('x'.repeat(93))")
    assert len(code.evaluate_all(SCROLLS)) == 1


def test_home_shows_a_picture_and_a_question_for_each_chapter(visit) -> None:
    page = visit(HOME)
    cards = page.locator(".gallery a")
    assert cards.count() == len(PROJECT.listed())
    for card in cards.all():
        card.scroll_into_view_if_needed()
        assert card.inner_text().endswith("?")
        picture = card.locator("img")
        assert picture.evaluate("node => node.decode().then(() => node.naturalWidth)") > 100
    with page.expect_navigation():
        cards.first.click()
    assert PROJECT.listed()[0] in page.url


def test_an_effect_on_the_scoreboard_leads_to_its_claim(visit) -> None:
    page = visit(SCOREBOARD, viewport=PHONE)
    effect = page.locator("table.effects td a").first
    claim = effect.inner_text()
    with page.expect_navigation():
        effect.click()
    assert page.locator("h3", has_text=claim).first.bounding_box()["y"] < PHONE["height"]
    assert page.url.endswith(f"#{claim}")


@pytest.mark.parametrize("entry", PAGES)
def test_links_inside_the_site_lead_somewhere(html: Path, entry: str) -> None:
    source = html / f"{entry}.html"
    text = source.read_text(encoding="utf-8")
    for target in re.findall(r'<a\b[^>]*\bhref="([^"]+)"', text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        page = (source.parent / name).resolve() if name else source
        assert page.exists(), target
        if anchor and page.suffix == ".html":
            assert f'id="{anchor}"' in page.read_text(encoding="utf-8"), target


def test_a_slider_moves_by_keyboard(visit) -> None:
    page = visit(CHAPTER)
    slider = page.locator("figure.medbook input[type=range]").first
    image = page.locator("figure.medbook", has=page.locator("input")).first.locator("img")
    first, said = image.get_attribute("src"), slider.get_attribute("aria-valuetext")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert image.get_attribute("src") != first
    assert slider.get_attribute("aria-valuetext") != said
    assert image.evaluate("node => node.decode().then(() => node.naturalWidth)") > 100
    page.keyboard.press("ArrowLeft")
    assert image.get_attribute("src") == first


def test_without_script_the_first_frame_is_there(visit) -> None:
    page = visit(CHAPTER, java_script_enabled=False)
    figure = page.locator("figure.medbook", has=page.locator("input")).first
    assert figure.locator("img").bounding_box()["width"] > 100
    assert figure.locator("input").is_hidden()


def test_search_finds_a_word(visit) -> None:
    page = visit("book/intro")
    page.keyboard.press("Control+k")
    page.keyboard.type("surrogate")
    page.keyboard.press("Enter")
    found = page.locator(f"ul.search a[href*='{CHAPTER}']").first
    found.wait_for(timeout=20_000)
    with page.expect_navigation():
        found.click()
    assert CHAPTER in page.url


def test_the_theme_switches_and_stays(visit) -> None:
    page = visit("book/intro", color_scheme="light")
    theme = page.locator("html")
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    button = page.locator("button.theme-switch-button:visible").first
    for _ in range(3):  # system, light, dark in turn
        button.focus()
        page.keyboard.press("Enter")
        if theme.get_attribute("data-theme") == "dark":
            break
    assert page.evaluate(ground) != before
    page.goto(page.url.replace("intro", "scoreboard"), wait_until="networkidle")
    assert theme.get_attribute("data-theme") == "dark"


def spoil(visited: Visit, old: str, new: str) -> None:
    """The chapter's page comes with a fault in it; its file stays as it is."""

    def answer(route) -> None:
        response = route.fetch()
        assert old in response.text()
        route.fulfill(response=response, body=response.text().replace(old, new, 1))

    visited.page.route(f"**/{CHAPTER}.html", answer)


@pytest.mark.parametrize(
    "fault",
    ['<img src="gone.png">', "<script>nowhere()</script>", '<img src="http://localhost:9/x.png">'],
)
def test_these_checks_notice_a_fault(browser, address: str, fault: str) -> None:
    visited = Visit(browser.new_page(), address)
    spoil(visited, "</article>", f"{fault}</article>")
    visited.open(CHAPTER)
    assert visited.problems
    visited.page.close()


def test_the_measures_of_width_and_contrast_notice_a_fault(visit) -> None:
    page = visit("book/use", viewport=PHONE)
    assert page.evaluate(TOO_WIDE) == page.evaluate(CONTRAST) == []
    page.evaluate(
        """() => document.querySelector("article").insertAdjacentHTML(
            "beforeend", '<p style="width: 500px; color: #999; background: #fff">pale</p>')"""
    )
    assert len(page.evaluate(TOO_WIDE)) == len(page.evaluate(CONTRAST)) == 1


# What sticks out on the right and cannot be scrolled to within a box of its own.
TOO_WIDE = """() => [...document.querySelectorAll("article *")].filter(node => {
    const box = node.getBoundingClientRect();
    for (let up = node; up.tagName !== "BODY"; up = up.parentElement)
        if (getComputedStyle(up).overflowX !== "visible") return false;
    return box.width && box.right > innerWidth + 1;
}).map(node => node.outerHTML.slice(0, 120))"""

# Code that has to be scrolled sideways.
SCROLLS = """nodes => nodes.filter(node => node.scrollWidth > node.clientWidth)
    .map(node => node.textContent.slice(0, 80))"""

# Texts whose contrast to the first opaque ground behind them is too low, each once.
CONTRAST = """() => {
    const channels = text => text.match(/[\\d.]+/g).map(Number);
    const light = text => {
        const [r, g, b] = channels(text).map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = node => {
        for (; node; node = node.parentElement) {
            const colour = getComputedStyle(node).backgroundColor, [, , , a = 1] = channels(colour);
            if (a === 1) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const bad = new Set(), walker = document.createTreeWalker(
        document.querySelector("article"), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement, style = getComputedStyle(node);
        if (!walker.currentNode.textContent.trim() || !node.checkVisibility()
            || node.closest("script, style, mjx-container, .headerlink")) continue;
        const [a, b] = [light(style.color), light(ground(node))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) bad.add(
            `${ratio.toFixed(1)} ${node.tagName}.${node.className} ${style.color}`);
    }
    return [...bad];
}"""
