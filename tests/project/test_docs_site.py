"""The documentation as a site: it builds without a warning, and fetches nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical")
    # zensical writes the site and its cache beside the configuration.
    folder = tmp_path_factory.mktemp("documentation")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(folder / "mkdocs.yml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_every_page_of_the_site_is_reached_by_its_menu(site: Path) -> None:
    menu = (site / "index.html").read_text(encoding="utf-8")
    pages = {page.relative_to(site).parent.as_posix() for page in site.rglob("index.html")} - {"."}
    families = {page for page in pages if page.startswith("catalogue/")}
    assert len(families) > 20
    assert [page for page in sorted(pages - families) if f'href="./{page}/"' not in menu] == []


def test_commands_and_functions_are_in_the_reference(site: Path) -> None:
    commands = (site / "reference" / "cli" / "index.html").read_text(encoding="utf-8")
    assert [name for name in ("run", "gate", "init", "mutate") if f"faultlab {name} [OPTIONS]" not in commands] == []
    functions = (site / "reference" / "python" / "index.html").read_text(encoding="utf-8")
    assert "return the report of who detected what" in functions


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    fetching = re.compile(r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="(?:https?:)?//[^"]*"[^>]*>')
    found = {tag for page in site.rglob("*.html") for tag in fetching.findall(page.read_text(encoding="utf-8"))}
    assert {tag for tag in found if 'rel="canonical"' not in tag} == set()
