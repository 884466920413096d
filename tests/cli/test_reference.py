"""docs/cli.md says what the app itself says: every verb, option, and key of JSON."""

from __future__ import annotations

import re
from pathlib import Path

from wukong.cli.reference import renewed, verbs

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cli.md"


def test_the_page_lists_every_verb_as_the_app_has_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page, "run `make cli`"


def test_every_verb_takes_json_and_the_page_has_its_keys() -> None:
    page = PAGE.read_text(encoding="utf-8")
    documented = re.findall(r"^\| `([a-z ]+)` \| ", page.split("## JSON")[1], re.MULTILINE)
    for words, _, command in verbs():
        assert any("--json" in one.opts for one in command.params), words
        assert words in documented, f"{words} has no row in the table of keys"


def test_each_exit_status_of_the_code_is_documented() -> None:
    from wukong.cli import output

    page = PAGE.read_text(encoding="utf-8")
    for status in (output.FAILED, output.FOUND_PROBLEMS, output.INTERRUPTED):
        assert f"\n| {status} | " in page


def test_every_check_of_the_doctor_is_documented() -> None:
    source = (ROOT / "wukong" / "doctor" / "aws.py").read_text(encoding="utf-8")
    found = set(re.findall(r'(?:ok|warning|problem|failed)\(\s*"([^"]+)"', source))
    section = PAGE.read_text(encoding="utf-8").split("## What the doctor looks at")[1]
    for check in found:
        assert check in section, check
