"""A real browser for tests of pages: Chromium without a window, driven through ChromeDriver."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pytest

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

_FIRST_LINE = """
new MutationObserver((_, observer) => {
  if (document.querySelector("#entries tbody button")) {
    window.firstTable = true;
    observer.disconnect();
  }
}).observe(document, { childList: true, subtree: true });
"""


_CELLS = """
const heads = [...document.querySelectorAll("#entries thead th")];
const place = heads.findIndex((head) => head.textContent.trim() === arguments[0]);
const lines = [...document.querySelectorAll("#entries tbody tr:not(.child)")];
return lines.map((line) => line.cells[place].textContent.trim());
"""


class Browser:
    """One window, which remembers what its pages ask for and complain about."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str, *, width: int = 1280, dark: bool = False) -> None:
        """Load a page anew in a window of a width, in light or dark mode."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get("about:blank")  # the same address with another fragment loads nothing
        self.complaints(), self.requests()
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, seconds: float = 30.0) -> Any:
        """What an expression is as soon as it is true."""
        ends = time.monotonic() + seconds
        while not (value := self.run(f"return {script}")):
            assert time.monotonic() < ends, f"not true within {seconds} s: {script}"
            time.sleep(0.05)
        return value

    def cpu_seconds(self) -> float:
        """What the page's own thread has cost since it was opened, however busy the machine is."""
        metrics = self.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return next(each["value"] for each in metrics if each["name"] == "TaskDuration")

    def choose(self, name: str, value: str) -> None:
        """Choose in a list as a user does."""
        from selenium.webdriver.support.select import Select

        Select(self.driver.find_element("id", f"choose-{name}")).select_by_value(value)

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def see(self, place: str) -> None:
        """Scroll to what a selector finds."""
        self.run("document.querySelector(arguments[0]).scrollIntoView()", place)

    def cells(self, column: str) -> list[str]:
        """The texts of a column of the table of entries, as it is shown."""
        return self.run(_CELLS, column)

    def complaints(self) -> list[str]:
        """What the console said since the last call, at any level."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """What was asked of a network or disk since the last call."""
        messages = (
            json.loads(line["message"])["message"] for line in self.driver.get_log("performance")
        )
        asked = (m["params"] for m in messages if m["method"] == "Network.requestWillBeSent")
        urls = (params["request"]["url"] for params in asked)
        return [url for url in urls if not url.startswith(("data:", "chrome:", "about:"))]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own; the test is skipped where there is none."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}: apt-get install chromium chromium-driver")
    selenium = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = selenium.ChromeOptions()
    options.binary_location = programs["chromium"]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = selenium.Chrome(options=options, service=Service(programs["chromedriver"]))
        try:
            script = {"source": _FIRST_LINE}
            driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
            driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
            yield Browser(driver)
        finally:
            driver.quit()
