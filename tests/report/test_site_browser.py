"""The static site in a browser: no error, nothing from a network, tables, themes, keyboard and narrow screens."""

import shutil

import pytest
from test_site import REPORT, example, site_pages

from kmodels.report.site import write_site

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no chromium here: apt-get install chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """{name: address} of the pages of an example; class names and experiments are long and evil."""
    out = tmp_path_factory.mktemp("results")
    write_site(example(out), [REPORT], out)
    return {name: path.as_uri() for name, path in site_pages(out).items()}


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        # As root in a container, Chromium has no sandbox.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens an address; what goes wrong on it is in `page.problems`."""
    contexts = []

    def open_page(address, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.problems = []
        page.on("console", lambda m: page.problems.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("requestfailed", lambda request: page.problems.append(request.url))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else page.problems.append(r.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_opens_without_an_error_and_is_no_wider_than_the_screen(site, open_page, width, scheme):
    page = open_page(site["index.html"], viewport={"width": width, "height": 800}, color_scheme=scheme)
    for name, address in site.items():
        page.goto(address)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert not page.locator("img").evaluate_all("all => all.filter(one => !one.naturalWidth).length"), name
    assert page.problems == []


def test_a_table_is_sorted_by_number_and_by_keyboard(site, open_page):
    page = open_page(site["reports/report.html"])
    column = page.locator("#experiments thead th", has_text="measured")
    numbers = "rows => rows.map(row => Number(row.cells[4].dataset.value || NaN))"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('th')?.textContent.startsWith('measured')"):
            break
    for order, sign in (("descending", -1), ("ascending", 1)):
        page.keyboard.press("Enter")
        assert column.get_attribute("aria-sort") == order
        found = page.locator("#experiments tbody tr").evaluate_all(numbers)
        known = [number for number in found if number == number]
        assert len(known) == len(found) - 1
        assert found[: len(known)] == sorted(known, key=lambda number: sign * number)


def test_a_long_table_is_filtered(site, open_page):
    page = open_page(site["experiments/mine/many_classes.html"])
    page.locator("summary", has_text="Every class").click()
    box = page.locator("details[open] .filter")
    assert box.inner_text().strip().endswith("25 of 25 rows")
    box.get_by_label("Filter").fill("CLASS 24")
    assert box.inner_text().strip().endswith("1 of 25 rows")
    assert page.locator("table[id^=classes] tbody tr:visible").count() == 1


def test_the_theme_is_that_of_the_system_until_another_is_chosen(site, open_page):
    colour = "getComputedStyle(document.body).backgroundColor"
    page = open_page(site["index.html"], color_scheme="dark")
    dark = page.evaluate(colour)
    page.get_by_role("button", name="Light theme").click()
    light = page.evaluate(colour)
    assert (light, light == dark) == ("rgb(255, 255, 255)", False)
    page.goto(site["reports/report.html"])
    assert page.evaluate(colour) == light
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate(colour) == dark


def test_charts_tell_their_numbers_to_pointer_and_keyboard(site, open_page):
    page = open_page(site["experiments/report/one.html"])
    tip = page.locator("#tip")
    assert tip.is_hidden()
    for chart, words in (
        (page.locator("svg.lines").first, "epoch "),
        (page.locator("svg.marks").first, "confidence "),
        (page.locator(".wide:has(.confusion)"), "right, "),
    ):
        chart.focus()
        page.keyboard.press("ArrowRight")
        assert words in tip.inner_text()
        page.keyboard.press("ArrowRight")
        page.evaluate("document.activeElement.blur()")
        assert tip.is_hidden()
    page.locator("svg.row").first.focus()
    assert "test images" in tip.inner_text()
    page.locator(".confusion td[data-tip]").nth(1).hover()
    assert "taken for" in tip.inner_text()
    page.locator("svg.lines").first.hover()
    assert "training: " in tip.inner_text()
    assert page.problems == []


def test_a_matrix_of_many_classes_names_the_cell(site, open_page):
    page = open_page(site["experiments/mine/many_classes.html"])
    page.locator(".matrix").focus()
    page.keyboard.press("ArrowRight")
    assert "class 0: right" in page.locator("#tip").inner_text()
    page.keyboard.press("ArrowRight")
    assert "class 0 taken for class 1" in page.locator("#tip").inner_text()


def test_paper_has_what_is_folded(site, open_page):
    page = open_page(site["experiments/report/one.html"], color_scheme="dark")
    assert not page.get_by_text("checksum of the images").is_visible()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.get_by_text("checksum of the images").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
