"""Draws docs/images/*.svg from the Mermaid source beside each, with Chromium: `make diagrams`.

Pages show the drawings, so that the site needs no script of three megabytes and no network.

    NAME.mmd ──Mermaid in Chromium──> NAME.svg, which names its source's digest
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PAGE = """<!doctype html><meta charset="utf-8"><body><script src="{script}"></script><script>
mermaid.initialize({{startOnLoad: false, theme: "neutral", flowchart: {{htmlLabels: false}},
                     htmlLabels: false, fontFamily: "sans-serif"}});
mermaid.render("drawing", {source!r}).then(({{svg}}) => {{
  document.body.textContent = "";
  document.body.insertAdjacentHTML("beforeend", svg);
  const drawing = document.querySelector("svg");
  document.body.replaceChildren(new XMLSerializer().serializeToString(drawing));
}}, error => {{ document.body.textContent = "no drawing: " + error; }});
</script></body>"""


def digest_of(source: Path) -> str:
    """Give what a drawing must name, to be of this source."""
    return hashlib.sha256(source.read_bytes()).hexdigest()[:16]


def draw(source: Path, script: Path) -> str:
    """Give the SVG of a Mermaid source."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Drawing needs Chromium: apt-get install chromium")
    page = PAGE.format(script=script.resolve().as_uri(), source=source.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "page.html")
        file.write_text(page, encoding="utf-8")
        flags = (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder}/profile",
        )
        command = [chromium, *flags, "--virtual-time-budget=20000", "--dump-dom", file.as_uri()]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    return _cleaned(dom, source)


def _cleaned(dom: str, source: Path) -> str:
    found = re.search(r"&lt;svg.*&lt;/svg&gt;", dom, re.DOTALL)
    if found is None:
        sys.exit(f"{source.name}: {dom[-500:]}")
    svg = found[0].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    # A page shows it as an image, which takes its size from the drawing's box.
    box = re.search(r'viewBox="\S+ \S+ (\S+) (\S+)"', svg)
    assert box is not None, "Mermaid gives every drawing a box"
    size = f'width="{float(box[1]):.0f}" height="{float(box[2]):.0f}"'
    svg = re.sub(r'width="100%"', size, svg, count=1)
    svg = re.sub(
        r"max-width: [\d.]+px; ?background-color: \w+;|max-width: [\d.]+px;",
        "background: white;",
        svg,
    )
    return f"<!-- source {digest_of(source)} -->\n{svg}\n"


def main() -> None:
    """Draw every diagram whose drawing is not of its source."""
    for source in sorted(IMAGES.glob("*.mmd")):
        drawing = source.with_suffix(".svg")
        if not drawing.exists() or digest_of(source) not in drawing.read_text(encoding="utf-8"):
            drawing.write_text(draw(source, Path(sys.argv[1])), encoding="utf-8")


if __name__ == "__main__":
    main()
