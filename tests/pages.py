"""HTML pages as tests look at them: parsed, closed to the outside, and shown by Chromium."""

import html.parser
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--no-zygote",  # two of which, ending at once, were seen to hang in the kernel
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--window-size=1280,3000",
]
VOID = {"meta", "link", "img", "br"}


def needs_chromium(test):
    """Marks a test that starts a browser: slow, and skipped where there is none.

    A browser is a system package, which no environment of Python's can bring.
    """
    without = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
    return pytest.mark.slow(without(test))


class Page(html.parser.HTMLParser):
    """Checks that tags are balanced and collects attributes, texts and tables.

    Attributes:
      tables: of each table with an id, its rows of cells.
    """

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(dict(attrs).get("id", ""), [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}>"

    def handle_data(self, data):
        self.texts.append(data)
        if {"td", "th"} & set(self.open[-1:]):
            self.rows[-1][-1] += data.strip()

    def values(self, tag: str, name: str) -> list[str]:
        return [v for t, n, v in self.attributes if (t, n) == (tag, name)]


def check_closed(text: str) -> None:
    """Refuses scripts and whatever would be fetched."""
    page = Page(text)
    for tag, name, value in page.attributes:
        if name in ("src", "href", "srcset", "poster", "data", "action"):
            assert value.startswith("data:"), (tag, name, value[:80])
        assert not name.startswith("on"), (tag, name)
    assert not re.search(r"https?:|//|@import|url\(|<script|<iframe", without_pictures(text))


def without_pictures(text: str) -> str:
    return re.sub(r"data:image/(webp|jpeg);base64,[A-Za-z0-9+/=]+", "", text)


def chromium(folder: pathlib.Path, page: pathlib.Path, *arguments: str) -> tuple[str, str]:
    """What it prints of a page, and its log, in which a console error says CONSOLE."""
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [*one_core(), CHROMIUM, *FLAGS, profile, *arguments, page.as_uri()]
    code, out, log = run_alone(command, folder, seconds=120)
    assert code == 0, log
    return out, log


def one_core() -> list[str]:
    """Words before a command that keep it on one core, where there is `taskset`.

    Ending browsers were seen to spin in the kernel on every core that they had.
    """
    core = max(os.sched_getaffinity(0))
    return ["taskset", "-c", str(core)] if shutil.which("taskset") else []


def run_alone(
    command: list[str], folder: pathlib.Path, seconds: float
) -> tuple[int | None, str, str]:
    """Runs a command as a group of processes of its own, which is killed when it ends or is late.

    Returns:
      Its exit code, None if it took longer than `seconds`; its stdout; its stderr. They go to files
      in `folder`: a pipe stays open, and its reader waits, as long as any child holds it.
    """
    out, log = folder / "stdout.txt", folder / "stderr.txt"
    with out.open("wb") as stdout, log.open("wb") as stderr:
        started = subprocess.Popen(command, stdout=stdout, stderr=stderr, start_new_session=True)
    try:
        code = started.wait(seconds)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        kill_group(started.pid)
    return code, out.read_text(errors="replace"), log.read_text(errors="replace")


def kill_group(leader: int) -> None:
    """Kills what is left of a group, and does not wait for it: the kernel may hold it for long."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return
