"""The page in Chromium, at the width of a screen and of a phone."""

import shutil

import pytest

pytestmark = pytest.mark.slow
sync_api = pytest.importorskip(
    "playwright.sync_api",
    reason="needs playwright: pip install playwright && playwright install chromium",
)

WIDE, PHONE = (1200, 900), (390, 844)
_OPTIONS = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                 None)  # fmt: skip
    with sync_api.sync_playwright() as playwright:
        try:
            # Without a browser of the system: playwright's own.
            browser = playwright.chromium.launch(executable_path=found, args=list(_OPTIONS))
        except sync_api.Error as error:
            reason = str(error).splitlines()[0]
            pytest.skip(f"needs Chromium: playwright install chromium ({reason})")
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, finished):
    """Opens the page; its requests and what it writes to the console are collected."""
    contexts, said, requests = [], [], []

    def open_(size=WIDE, scheme="light", **more):
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, **more
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((finished / "report.html").as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in requests if not url.startswith(("data:", "file:"))] == []
    assert sum(url.startswith("file:") for url in requests) == len(contexts)


def _pixels(page):
    """The canvas as it is after the next frame."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate("document.getElementById('viewer').toDataURL()")


def _hand_share(page):
    """Share of the canvas that is not background."""
    _pixels(page)
    return page.evaluate(
        """() => {
          const gl = document.getElementById('viewer').getContext('webgl');
          const [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
          const data = new Uint8Array(4 * w * h);
          gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, data);
          let seen = 0;
          for (let i = 0; i < data.length; i += 4) seen += data[i] > 60;
          return seen / (w * h);
        }"""
    )


@pytest.mark.parametrize("size", [WIDE, PHONE, (320, 600)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_does_not_scroll_sideways(opened, size, scheme):
    page = opened(size, scheme)
    width, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner == size[0]
    shown = page.evaluate("[...document.images].every((x) => x.complete && x.naturalWidth > 0)")
    assert shown
    light = page.evaluate("getComputedStyle(document.body).backgroundColor").strip("rgb()")
    assert (int(light.split(",")[0]) > 128) == (scheme == "light")


def _drag(page, dx, dy):
    box = page.locator("#viewer").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=5)
    page.mouse.up()


def test_the_hand_turns_zooms_and_changes(opened):
    page = opened()
    page.locator("#viewer").scroll_into_view_if_needed()
    seen = {_pixels(page)}
    first = _hand_share(page)
    assert 0.05 < first < 0.6
    _drag(page, 80, 0)
    seen.add(_pixels(page))
    _drag(page, 0, 50)
    seen.add(_pixels(page))
    page.keyboard.press("Tab")
    page.locator("#viewer").focus()
    page.keyboard.press("ArrowLeft")
    seen.add(_pixels(page))
    before = _hand_share(page)
    page.mouse.wheel(0, -300)
    assert _hand_share(page) > 1.2 * before
    seen.add(_pixels(page))
    page.locator("#viewer-buttons button").nth(1).click()
    seen.add(_pixels(page))
    assert len(seen) == 6
    pressed = page.locator("#viewer-buttons button[aria-pressed=true]").all_inner_texts()
    assert len(pressed) == 1 and pressed[0].startswith("0003_RT_hook")


def test_a_finger_turns_and_two_zoom(opened):
    page = opened(PHONE, has_touch=True, is_mobile=True)
    page.locator("#viewer").scroll_into_view_if_needed()
    before, share = _pixels(page), _hand_share(page)
    box = page.locator("#viewer").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)

    def send(kind, *points):
        places = [{"x": a, "y": b} for a, b in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    scrolled = page.evaluate("scrollY")
    send("touchStart", (x, y))
    for shift in (10, 30, 60):
        send("touchMove", (x + shift, y + shift))
    send("touchEnd")
    turned = _pixels(page)
    assert turned != before and page.evaluate("scrollY") == scrolled
    share = _hand_share(page)
    send("touchStart", (x - 30, y), (x + 30, y))
    for apart in (40, 60):
        send("touchMove", (x - apart, y), (x + apart, y))
    send("touchEnd")
    assert _hand_share(page) > 1.5 * share


def test_without_webgl_a_message_is_shown(browser, finished):
    page = browser.new_page()
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto((finished / "report.html").as_uri())
    assert page.locator(".fallback").is_visible() and not page.locator("#viewer").is_visible()
    page.close()
