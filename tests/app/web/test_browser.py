"""The page in a headless Chromium, used as people use it: by keyboard, on a phone's width, in the dark."""

import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conflict_framing.model import CheckpointClassifier
from conflict_framing.web import model as web_model

from .conftest import Browser, Page

ARTICLE = (
    "Calm in the north\n\nThe town is calm and quiet. Clashes near the river killed the army.\n\nThe convoy arrived."
)
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script> calm"


@pytest.fixture
def page(browser: Browser | None, site: str) -> Iterator[Page]:
    if browser is None:
        pytest.skip("NO BROWSER: the page was not tested. Install chromium, or name one in CONFLICT_FRAMING_BROWSER.")
    opened = browser.page()
    opened.resize(1280, 900)
    opened.dark(False)
    opened.open(site)
    yield opened
    # Nothing but this server was asked, and nothing broke the content security policy or threw.
    assert [address for address in opened.asked if not address.startswith((site, "about:"))] == []
    assert opened.problems == []
    opened.close()


def write_table(path: Path, rows: int = 40) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["outlet", "date", "words"])
        for number in range(rows):
            words = ("the town is calm .", "clashes near the river .", "the convoy arrived .")[number % 3]
            writer.writerow(["Herald" if number % 2 else HOSTILE[:40], f"2024-0{1 + number % 4}-03", words])
    return path


def paste(page: Page, text: str) -> None:
    page.run("document.getElementById('text').focus()")
    page.type(text)
    page.press("Enter", ctrl=True)
    page.wait("document.querySelector('#rows .s')")


def test_an_article_is_read_filtered_and_corrected_by_keyboard_alone(page: Page, tmp_path: Path) -> None:
    for _ in range(30):  # as someone who has no mouse comes to the text
        page.press("Tab")
        if page.run("document.activeElement.id") == "text":
            break
    page.type(ARTICLE)
    page.press("Tab")
    page.press("Tab")
    page.press("Tab")
    assert page.run("document.activeElement.textContent") == "Label sentences"
    page.press("Enter")
    page.wait("document.querySelectorAll('#rows .s').length === 4")
    assert page.run("document.querySelectorAll('#rows p').length") == 3
    assert page.run("document.querySelector('#rows p').className") == "heading"
    assert page.run("document.activeElement.id") == "result-title"  # focus follows what was asked for
    assert "4 sentences labelled" in page.wait("document.getElementById('live').textContent")

    page.press("j")
    page.press("ArrowDown")
    assert page.run("document.activeElement.textContent") == "Clashes near the river killed the army."
    outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    label = page.run("document.querySelectorAll('#labels input')[2].value")
    page.press("3")
    page.wait("document.querySelector('.s.mine')")
    saved = [json.loads(line) for line in (tmp_path / "annotations.jsonl").read_text("utf-8").splitlines()]
    assert [(row["text"], row["label"]) for row in saved] == [("Clashes near the river killed the army.", label)]

    page.press("e")
    page.wait("document.querySelector('.explained .word.for, .explained .word.against')")
    assert page.run("document.querySelector('.explained .quote').textContent") == saved[0]["text"]

    page.press("/")
    page.type("convoy")
    page.wait("document.getElementById('matching').textContent === '1 of 4 sentences'")
    assert page.run("[...document.querySelectorAll('#rows .t')].map(e => e.textContent)") == ["The convoy arrived."]
    page.run("document.getElementById('search').value = ''")
    page.run("document.getElementById('corrected').focus()")
    page.press("Space")
    page.wait("document.querySelectorAll('#rows .item').length === 1 && document.querySelector('.item.mine')")
    page.run("document.querySelector('#rows .item').focus()")
    page.press("0")
    page.wait("!document.querySelector('.item.mine')")
    assert (tmp_path / "annotations.jsonl").read_text("utf-8") == ""


def test_help_opens_and_closes_and_gives_the_focus_back(page: Page) -> None:
    page.run("document.getElementById('keys').focus()")
    page.press("Enter")
    assert page.run("document.getElementById('help').open")
    page.press("Escape")
    assert page.run("document.activeElement.id") == "keys"


def test_tabs_are_chosen_with_arrows(page: Page) -> None:
    page.run("document.getElementById('tab-paste').focus()")
    page.press("ArrowRight")
    assert page.run("document.activeElement.id") == "tab-file"
    assert page.run("[document.getElementById('paste').hidden, document.getElementById('file').hidden]") == [
        True,
        False,
    ]


def test_hostile_text_is_shown_as_text(page: Page) -> None:
    paste(page, HOSTILE)
    assert HOSTILE in page.run("document.getElementById('rows').textContent")
    assert page.run("[document.title, document.querySelectorAll('#rows img, #rows script').length]") == [
        "conflict-framing",
        0,
    ]


def test_an_empty_text_is_told_and_the_page_stays(page: Page) -> None:
    page.click("#paste .primary")
    assert page.wait("document.getElementById('failure').textContent").startswith("There is no text to label.")
    assert page.run("document.getElementById('failure').getAttribute('role')") == "alert"
    # The browser reports the refusal as a failed request; that is not an error of the page.
    page.problems[:] = [problem for problem in page.problems if "422" not in problem]


def test_a_table_is_sent_its_column_chosen_charted_and_downloaded(page: Page, tmp_path: Path) -> None:
    page.click("#tab-file")
    page.choose_file("#chosen", write_table(tmp_path / "news.csv"))
    page.click("#file .primary")
    page.wait("document.querySelectorAll('#failure .choices button').length === 3")
    page.click("#failure .choices button:last-child")
    page.wait("document.querySelectorAll('#rows .item').length === 40")

    page.click("#tab-shares")
    shown = "[...document.querySelectorAll('#shares figure img')].every(i => i.complete && i.naturalWidth > 0)"
    page.wait("document.querySelector('#shares figure img') && " + shown)
    assert page.run("document.getElementById('by').value") == "outlet"
    assert HOSTILE[:40] in page.run("document.querySelector('#shares tbody').textContent")
    assert page.run("document.querySelector('#shares .notice').textContent").startswith("Model-based")
    assert page.run("document.querySelectorAll('#shares img[onerror], #shares script').length") == 0
    page.run("document.getElementById('by').value = ''")
    page.run("document.getElementById('period').value = 'month'")
    page.run("document.getElementById('period').dispatchEvent(new Event('change'))")
    page.wait("document.querySelectorAll('#shares table')[0].querySelectorAll('tbody tr').length === 4")
    page.wait(shown)
    light = page.run("document.querySelector('#shares figure img').src")
    page.dark(True)
    page.wait(f"document.querySelector('#shares figure img').src !== '{light}' && {shown}")
    page.dark(False)
    page.wait(shown)

    page.click("#tab-sentences")
    page.click("#labels label:first-child input")
    shown = int(page.wait("document.getElementById('matching').textContent").split()[0])
    downloads = tmp_path / "downloads"
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
    page.click("#as-csv")
    end = time.monotonic() + 60
    while not (found := list(downloads.glob("*.csv"))):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert found[0].name == "news-labelled.csv"
    rows = list(csv.DictReader(found[0].read_text("utf-8-sig").splitlines()))
    assert len(rows) == shown < 40 and set(rows[0]) >= {"outlet", "words", "label", "score", "corrected_label"}


def test_a_random_sample_is_planned_labelled_and_used(page: Page, tmp_path: Path, tiny: CheckpointClassifier) -> None:
    page.click("#tab-file")
    page.choose_file("#chosen", write_table(tmp_path / "news.csv", rows=80))
    page.run("document.getElementById('text-column').value = 'words'")
    page.click("#file .primary")
    page.wait("document.querySelectorAll('#rows .item').length === 80")
    page.click("#tab-shares")
    page.wait("document.getElementById('audit')")
    page.run("document.getElementById('audit').open = true")  # a click would close it where it is open already
    page.click("#plan-form button")
    links = "[...document.querySelectorAll('#planned a')].map(a => a.href)"
    page.wait(f"{links}.length === 2")
    rows = list(csv.DictReader(str(page.run(f"fetch({links}[0]).then(a => a.text())")).splitlines()))
    metadata = page.run(f"fetch({links}[1]).then(a => a.text())")
    for row in rows:
        row["label"] = tiny.classes_[0]
    with (tmp_path / "audit.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    page.click("#audit form:last-of-type button")
    assert page.wait("document.getElementById('audit-failure').textContent").startswith("Choose two files")
    (tmp_path / "audit.csv.meta.json").write_text(metadata)
    page.choose_file("#audit-files", tmp_path / "audit.csv", tmp_path / "audit.csv.meta.json")
    page.click("#audit form:last-of-type button")
    page.wait("document.querySelector('#shares .notice.good')?.textContent.startsWith('Audited')")
    assert f"{len(rows)} labels" in page.wait("document.getElementById('live').textContent")


def test_progress_is_shown_and_a_job_is_cancelled(
    page: Page, tmp_path: Path, tiny: CheckpointClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    go = threading.Semaphore(3)
    predict = tiny.predict

    def slow(texts: list[str], **options: object) -> object:
        if len(texts) > 1:
            assert go.acquire(timeout=60)
        return predict(texts, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(web_model, "_PIECE", 10)
    monkeypatch.setattr(tiny, "predict", slow)
    page.click("#tab-file")
    page.choose_file("#chosen", write_table(tmp_path / "news.csv", rows=200))
    page.run("document.getElementById('text-column').value = 'words'")
    page.click("#file .primary")
    told = page.wait("/^30 of 200 rows · .* rows.s · .* left$/.exec(document.getElementById('told').textContent)?.[0]")
    assert told.startswith("30 of 200 rows")
    assert page.run("[document.getElementById('meter').value, document.getElementById('meter').max]") == [30, 200]
    page.click("#cancel")
    page.run("new Promise(done => setTimeout(done, 200))")
    go.release(100)
    page.wait("!document.getElementById('input').hidden")
    assert page.wait("document.getElementById('live').textContent") == "Cancelled."


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_all_without_scrolling_sideways(page: Page, dark: bool) -> None:
    page.resize(360, 740, mobile=True)
    page.dark(dark)
    paste(page, ARTICLE + "\n\n" + "a" * 300)
    assert page.run("document.documentElement.scrollWidth") == 360
    assert page.run("document.getElementById('detail').childElementCount") == 0
    page.click("#rows .s")
    page.wait("document.getElementById('detail').checkVisibility()")
    assert page.run("document.documentElement.scrollWidth") == 360
    page.click("#detail .close")
    page.wait("!document.getElementById('detail').checkVisibility()")


def contrast(page: Page, selector: str) -> float:
    """Of an element's text with what stands behind it (WCAG 2)."""
    script = """(() => {
      const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      const behind = [];
      const element = document.querySelector(SELECTOR);
      for (let e = element; e; e = e.parentElement) behind.unshift(getComputedStyle(e).backgroundColor);
      const draw = (colours) => { for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); } return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3); };
      const light = (rgb) => { const [r, g, b] = rgb.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const ground = light(draw(behind));
      const text = light(draw([...behind, getComputedStyle(element).color]));
      return (Math.max(ground, text) + 0.05) / (Math.min(ground, text) + 0.05);
    })()"""  # noqa: E501
    return float(page.run(script.replace("SELECTOR", json.dumps(selector))))


def test_text_has_contrast_in_light_and_dark(page: Page) -> None:
    paste(page, ARTICLE)
    for dark in (False, True):
        page.dark(dark)
        for selector in (".soft", ".s", "button.ghost", "#labels .chip", "kbd", "#detail .saved", "footer p", "a"):
            assert contrast(page, f"{selector}") >= 4.5, (dark, selector)


def test_the_theme_can_be_chosen_and_is_remembered(page: Page, site: str) -> None:
    ground: Callable[[], str] = lambda: page.run("getComputedStyle(document.body).backgroundColor")  # noqa: E731
    light = ground()
    page.click("#theme")
    page.click("#theme")
    assert page.run("document.getElementById('theme').getAttribute('aria-label')") == "Theme: dark"
    dark = ground()
    assert dark != light
    page.open(site)
    assert ground() == dark
    page.dark(True)
    page.click("#theme")  # round to the system's own
    assert ground() == dark
    page.dark(False)
    page.wait("true")
    assert ground() == light


def test_a_reload_comes_back_to_the_result_and_another_browser_does_not(
    page: Page, site: str, browser: Browser
) -> None:
    paste(page, ARTICLE)
    address = page.run("location.href")
    page.run("location.reload()")
    page.wait("document.querySelectorAll('#rows .s').length === 4")
    page.run("document.cookie.length === 0 || Promise.reject('the cookie can be read')")
    page.call("Network.clearBrowserCookies")
    page.run("location.reload()")
    page.wait("document.readyState === 'complete' && !document.getElementById('input').hidden && !location.hash")
    assert address.startswith(f"{site}/#")
    page.problems[:] = [problem for problem in page.problems if "404" not in problem]


def test_every_field_and_button_has_a_name(page: Page) -> None:
    paste(page, ARTICLE)
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    named = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "tab", "image", "progressbar"}
    found = [node for node in nodes if node.get("role", {}).get("value") in named and not node.get("ignored")]
    assert len(found) > 15
    assert [node for node in found if not node.get("name", {}).get("value")] == []


def test_the_api_page_opens(page: Page, site: str) -> None:
    page.run(f"location.href = '{site}/api'")
    page.wait("document.querySelectorAll('main.api section').length > 10")
    page.click("#theme")
