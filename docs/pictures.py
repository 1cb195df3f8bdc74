"""Pictures of the page for README.md, light and dark: `make docs` makes them where Chromium is.

They differ in bytes between releases of Chromium and of fonts, so that no test compares them.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.paths import SHIPPED
from bench.records.store import ResultStore
from bench.reporting.render import render

FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--hide-scrollbars"
)
WIDTH, HEIGHT = 1100, 620


def main() -> None:
    """Write docs/page-light.png and docs/page-dark.png."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        sys.stderr.write(
            "docs/page-*.png stay as they are: chromium and chromedriver are missing\n"
        )
        return
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for flag in [*FLAGS.split(), f"--user-data-dir={folder}/profile"]:
            options.add_argument(flag)
        page = Path(folder) / "page.html"
        page.write_text(render(ResultStore(SHIPPED / "results" / "reference"), "html"), "utf-8")
        driver = webdriver.Chrome(options=options, service=Service(str(programs[1])))
        try:
            for scheme in ("light", "dark"):
                _shoot(driver, page, scheme)
        finally:
            driver.quit()


def _shoot(driver: Any, page: Path, scheme: str) -> None:
    run = driver.execute_cdp_cmd
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    run("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    run("Emulation.setEmulatedMedia", {"features": [feature]})
    driver.get("about:blank")
    driver.get(f"{page.as_uri()}#dataset=movielens&student=sasrec&controls=off")
    path = SHIPPED / "docs" / f"page-{scheme}.png"
    path.write_bytes(driver.get_screenshot_as_png())
    from PIL import Image

    with Image.open(path) as image:  # a palette has a third of the bytes, and no visible loss
        image.convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main()
