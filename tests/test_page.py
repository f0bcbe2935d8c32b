"""The page in a browser: typing, comparing, grading, by keyboard alone, on a phone, in the dark, read aloud."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from served import served

from acclimate.deploy.serving.app import PAGE
from acclimate.deploy.serving.feedback import Feedback

CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
QUERY = "volcano lava and ash"


@pytest.fixture(scope="module")
def site(finished, tmp_path_factory):
    copy = tmp_path_factory.mktemp("page") / "run"
    shutil.copytree(finished, copy)
    with served(copy) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(site, browser):
    """A page of this kind; whatever it complains of fails the test."""
    contexts, complaints = [], []

    def open_page(**kind):
        contexts.append(browser.new_context(**kind))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if is_complaint(message) else None)
        page.goto(site.url)
        page.wait_for_selector("#second option", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def is_complaint(message):
    return message.type == "error" and "Failed to load resource" not in message.text  # which the page says itself


def searched(page, query=QUERY):
    page.get_by_role("searchbox").fill(query)
    page.keyboard.press("Enter")
    page.wait_for_selector("#results .hit >> nth=0")
    return page


def said(page, text):
    playwright.expect(page.locator("#status")).to_contain_text(text)


def test_what_is_typed_is_found_on_two_sides_that_do_not_say_who_they_are(opened, site):
    page = searched(opened())
    said(page, "documents, ")
    headings = page.get_by_role("heading", level=2).all_text_contents()
    assert headings[:2] == ["Left", "Right"]
    assert page.locator("details.reasons").count() == 0
    titles = page.locator("#left .title").all_text_contents()
    assert any("<script>alert('volcano')</script>" in title for title in titles)  # as text: nothing ran, see `opened`
    assert {mark.casefold() for mark in page.locator("mark").all_text_contents()} <= {*QUERY.split(), "volcanoes"}
    assert page.url.endswith("?q=volcano%20lava%20and%20ash")
    page.get_by_role("button", name="Left is better").click()
    said(page, "is better. Left was ")
    headings = page.get_by_role("heading", level=2).all_text_contents()
    names = [heading.partition(" · ")[2] for heading in headings[:2]]
    assert {*names} == {*map(str, site.service.run.sides)}
    page.locator("details.reasons summary").first.click()
    assert page.locator("#left table.why").first.get_by_role("row").count() >= 2
    (kept,) = Feedback(site.service.feedback.path.parent).preferences()
    assert (kept.query, kept.preference, kept.blind, [kept.left, kept.right]) == (QUERY, "left", True, names)


def test_an_answer_that_comes_late_does_not_take_the_place_of_a_newer_one(opened):
    page, held = opened(), []
    page.route("**/compare", lambda route: route.continue_() if held else held.append(route))
    page.get_by_role("searchbox").fill("snow")
    with page.expect_request("**/compare"):
        page.keyboard.press("Enter")
    searched(page)
    marked = page.locator("mark").all_text_contents()
    with page.expect_response("**/compare"):
        held[0].continue_()
    page.wait_for_timeout(100)
    assert page.url.endswith("?q=volcano%20lava%20and%20ash")
    assert page.locator("mark").all_text_contents() == marked


def test_everything_goes_by_keyboard_alone(opened, site):
    page = opened()
    assert page.evaluate("document.activeElement.id") == "query"  # one may type at once
    page.keyboard.type("lava")
    page.keyboard.press("Enter")
    page.wait_for_selector("#left .hit")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('hit')"):
            break
    first = page.evaluate("document.activeElement.dataset.doc")
    page.keyboard.press("3")
    said(page, "Saved: grade 3")
    page.keyboard.press("j")
    second = page.evaluate("document.activeElement.dataset.doc")
    assert second != first
    page.keyboard.press("0")
    said(page, "Saved: grade 0")
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.dataset.doc") == first
    page.keyboard.press("]")
    said(page, "is better. Left was ")
    store = Feedback(site.service.feedback.path.parent)
    assert {grade.doc_id: grade.grade for grade in store.grades("lava")} == {first: 3, second: 0}
    assert store.preferences()[-1].preference == "right"
    assert page.locator(f'.hit[data-doc="{first}"] input[value="3"]').first.is_checked()
    searched(page, "lava")  # asked again, the grades are there
    assert page.locator(f'.hit[data-doc="{first}"] input[value="3"]').first.is_checked()


def test_queries_are_graded_one_after_the_other(opened, site):
    page = opened()
    page.get_by_role("button", name="Grade queries").click()
    page.wait_for_selector("#judge-hits .hit")
    query = page.locator("#judge-query").text_content()
    assert page.evaluate("document.activeElement.id") == "judge-query"
    page.get_by_role("button", name="Save and next").click()
    playwright.expect(page.locator("#judge-message")).to_contain_text("at least one document")
    page.locator("#judge-hits .hit").first.focus()
    for key in "2j0j1":
        page.keyboard.press(key)
    page.get_by_role("button", name="Save and next").click()
    playwright.expect(page.locator("#judge-query")).not_to_have_text(query)
    grades = Feedback(site.service.feedback.path.parent).grades(query)
    assert [grade.grade for grade in grades] == [2, 0, 1]
    playwright.expect(page.locator("#judge-status")).to_contain_text("1 of ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_one_list_at_a_time_and_nothing_beside_the_screen(opened, scheme):
    page = searched(opened(viewport={"width": 360, "height": 700}, color_scheme=scheme))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("#left").is_visible()
    assert not page.locator("#right").is_visible()
    page.get_by_role("button", name="Right list").click()
    assert page.locator("#right").is_visible()
    assert not page.locator("#left").is_visible()
    page.get_by_role("button", name="Same").click()
    said(page, "Both are equal")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_key_is_asked_for_once(site, browser):
    with served(site.service.feedback.path.parent, api_key="sésame") as locked:
        page = browser.new_context().new_page()
        page.set_default_timeout(20_000)
        page.goto(locked.url)
        page.wait_for_selector("#second option", state="attached")
        held: list[Any] = []
        page.route("**/feedback*", lambda route: held.append(route), times=1)
        page.get_by_role("searchbox").fill("lava")
        page.keyboard.press("Enter")
        page.get_by_label("This service requires a key").fill("sésame")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-form", state="hidden")
        held[0].continue_()  # another call of the page, which has no key yet
        page.wait_for_selector("#left .hit")
        assert not page.locator("#key-form").is_visible()
        page.context.close()


def test_what_is_wrong_is_said(opened, site):
    page = opened()
    page.get_by_role("searchbox").fill("x" * 1001)
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("alert").first).to_contain_text("at most 1,000 are read")


def test_a_screen_reader_finds_its_way(opened):
    page = searched(opened())
    for landmark in ("banner", "navigation", "search", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1, landmark
    assert page.get_by_role("heading", level=1).text_content() == "acclimate"
    assert page.get_by_role("region", name="Left").count() == 1
    assert page.get_by_role("list").count() == 2
    unnamed = page.evaluate(
        """[...document.querySelectorAll("button, input, select, summary, meter")].filter((each) =>
            !(each.textContent.trim() || each.ariaLabel || each.labels?.length)).map((each) => each.outerHTML)"""
    )
    assert unnamed == []
    assert page.locator("#status").get_attribute("aria-live") == "polite"


def luminance(color):
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_whatever_is_read_stands_out_from_its_ground():
    """WCAG's contrast of 4.5 for text, in both schemes."""
    light, dark = re.findall(r":root \{(.*?)\}", (Path(PAGE) / "page.css").read_text(), re.DOTALL)
    for scheme in (light, dark):
        colors = dict(re.findall(r"--([\w-]+): (#\w{6})", scheme))
        pairs = [
            (ink, ground) for ink in ("ink", "quiet", "accent", "up", "down", "wrong") for ground in ("ground", "card")
        ]
        for ink, ground in [*pairs, ("ink", "mark"), ("on-accent", "accent")]:
            low, high = sorted((luminance(colors[ink]), luminance(colors[ground])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)
