"""Look at the watch page with Chromium: ``python browser.py SCRIPT URL PICTURE``; prints what it saw."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from playwright.sync_api import Page, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
]

PLAYS = (
    "() => { const v = document.querySelector('video'); return v && !v.paused && v.currentTime > 1 && v.videoWidth; }"
)


def _advances(page: Page) -> None:
    """Wait until the picture moves on for two more seconds of media."""
    page.wait_for_function(PLAYS, timeout=40_000)
    then = page.evaluate("() => document.querySelector('video').currentTime")
    page.wait_for_function("(then) => document.querySelector('video').currentTime > then + 2", arg=then, timeout=20_000)


def hls(page: Page) -> None:
    _advances(page)
    options = page.locator("#quality option")
    page.wait_for_function("() => document.querySelectorAll('#quality option').length >= 3", timeout=10_000)
    print("playing", options.all_inner_texts(), page.locator("#latency").inner_text())
    page.select_option("#quality", label="240p")
    page.wait_for_function("() => document.querySelector('video').videoHeight === 240", timeout=30_000)
    _advances(page)


def low_latency(page: Page) -> None:
    _advances(page)
    page.locator("#low-latency").check()
    page.wait_for_function("() => document.querySelector('video').currentTime >= 0", timeout=10_000)
    _advances(page)
    print("playing", page.locator("#latency").inner_text())


def offline(page: Page) -> None:
    page.wait_for_function("() => /offline/i.test(document.body.innerText)", timeout=20_000)
    print(page.locator("#state").inner_text().lower())


WATCHED = """() => {
  const video = document.querySelector('video');
  let since = performance.now(), position = video.currentTime;
  [window.longestStall, window.restarts, window.skipped] = [0, 0, 0];
  video.addEventListener('emptied', () => { window.restarts += 1; });
  video.addEventListener('seeking', () => { window.skipped += Math.abs(video.currentTime - position); });
  setInterval(() => {
    const now = performance.now();
    if (video.currentTime === position) window.longestStall = Math.max(window.longestStall, now - since);
    else [since, position] = [now, video.currentTime];
  }, 50);
}"""


def steered(page: Page, elsewhere: str) -> None:
    """Play until a segment comes from ``elsewhere``, and on; say what a viewer would have noticed of that."""
    _advances(page)
    page.evaluate(WATCHED)
    print("playing", flush=True)
    with page.expect_request(lambda request: request.url.startswith(elsewhere) and ".m4s" in request.url):
        pass
    then = page.evaluate("() => document.querySelector('video').currentTime")
    page.wait_for_function("(then) => document.querySelector('video').currentTime > then + 2", arg=then, timeout=20_000)
    stall_ms, skipped_s, restarts = page.evaluate("() => [window.longestStall, window.skipped, window.restarts]")
    noticed = {"longest stall": round(stall_ms / 1000, 2), "skipped": round(skipped_s, 2), "restarts": restarts}
    print(json.dumps({**noticed, "state": page.locator("#state").inner_text()}))


def cluster(page: Page, leaving: str) -> None:
    """Wait until the page of the cluster shows ``leaving``, and then, by itself, until it shows that it is cut off."""
    row = "[...document.querySelectorAll('#nodes tr')].find((row) => row.cells[0].textContent === id)"
    page.wait_for_function(f"(id) => {row}", arg=leaving, timeout=20_000)
    print("shown", flush=True)
    is_cut_off = f"(id) => {row}.cells[2].textContent.startsWith('cut off since')"
    page.wait_for_function(is_cut_off, arg=leaving, timeout=20_000)
    print(page.locator("#summary").inner_text())


SCRIPTS: dict[str, Callable[..., None]] = {
    "cluster": cluster,
    "hls": hls,
    "low-latency": low_latency,
    "offline": offline,
    "steered": steered,
}


def main(script: str, url: str, picture: str, *more: str) -> None:
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"], args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("pageerror", lambda error: errors.append(str(error)))
        try:
            page.goto(url)
            SCRIPTS[script](page, *more)
        finally:
            page.screenshot(path=picture)
            browser.close()
    if errors:
        sys.exit("\n".join(errors))


if __name__ == "__main__":
    main(*sys.argv[1:])
