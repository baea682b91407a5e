"""Captures the page of `report` as pictures in docs/captures, at two widths, light and dark (`make captures`).

Needs Chromium (Debian: `apt-get install chromium`).
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "captures"
SCREENS = {1280: 800, 390: 844}
"""Heights by width, in pixels: a laptop's and a phone's first screen."""
SCHEMES = {"dark": 0, "light": 1}
"""Chromium's numbers for what a page may prefer."""
NARROWEST = 500
"""Pixels: Chromium makes no window narrower than this, so a phone is a frame in one."""


def capture(chromium: str, page: Path, width: int, scheme: str) -> Path:
    """Takes a picture of a page's first screen.

    Args:
        chromium: the browser.
        page: an HTML file.
        width: of the screen, in pixels.
        scheme: light or dark.

    Returns:
        The picture.
    """
    height = SCREENS[width]
    frame = page.with_name("frame.html")
    style = f"border:0;position:absolute;left:0;top:0;width:{width}px;height:{height}px"
    frame.write_text(f'<meta name="color-scheme" content="light dark"><iframe src="{page.name}" style="{style}">')
    picture = FOLDER / f"page_{width}_{scheme}.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=3000"]
    options += [f"--window-size={max(width, NARROWEST)},{height}", f"--screenshot={picture}"]
    options += [f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}"]
    subprocess.run([chromium, *options, frame.as_uri()], check=True, capture_output=True)
    with Image.open(picture) as taken:
        taken.crop((0, 0, width, height)).convert("P", palette=Image.Palette.ADAPTIVE).save(picture, optimize=True)
    return picture


def main() -> None:
    """Writes the page from the kept records, and its pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is missing; on Debian it is in the package chromium")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "results").symlink_to(ROOT / "results")
        collection = ["--collection", str(ROOT / "reproductions")]
        line = [sys.executable, "-m", "cifar_hpc", "report", *collection]
        subprocess.run(line, cwd=folder, check=True, capture_output=True)
        for width in SCREENS:
            for scheme in SCHEMES:
                print(capture(chromium, Path(folder) / "report" / "report.html", width, scheme))


if __name__ == "__main__":
    main()
