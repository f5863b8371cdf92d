"""The tests that come with the official SDK's source distribution, in an environment of their own."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

BIN = Path(sys.executable).parent
REQUIREMENTS = Path(__file__).parents[1] / "tools" / "openai-suite" / "requirements.txt"
RESOURCES = "tests/api_resources"
FILES = (
    "chat",
    "test_embeddings.py",
    "test_models.py",
    "test_responses.py",
    "test_amended_responses.py",
    "responses",
)
KEY_LINE = re.compile(r'^api_key = "My API Key"$', re.MULTILINE)
CREATES = r"(responses(?:\.with_raw_response|\.with_streaming_response)?\.create\()"
AMENDED = {
    "chat/test_completions.py": (
        (r"max_(completion_)?tokens=0", r"max_\1tokens=1", "OpenAI takes no limit of 0"),
    ),
    "test_responses.py": (
        (CREATES + r"\)", r'\1model="gpt-6-astra", input="string")', "a gateway routes by the model"),
        (
            CREATES + r"(\n +)stream=True,\n( +)\)",
            r'\1\2stream=True,\2model="gpt-6-astra",\2input="string",\n\3)',
            "a gateway routes by the model",
        ),
        (r"\n +(previous_response_id|conversation)=[^\n]*", "", "names something stored"),
        (r"\n( +)prompt=\{(\n.*?)*?\n\1\},", "", "names something stored"),
        (r"background=True", "background=False", "nothing runs in the background"),
    ),
}
"""Copies of tests that as they are can't pass through a gateway that stores nothing: what is
replaced by what, and why. They run besides the tests as they are, so that other parameters are proved."""


class Suite:
    """`run` gives each test's outcome by its name."""

    def __init__(self, folder: Path, python: Path) -> None:
        self._folder = folder
        self._python = python

    async def run(self, url: str, key: str, select: str) -> dict[str, bool]:
        """Whether each test passed that pytest's -k selects. `url` ends with /v1."""
        report = self._folder / "report.xml"
        report.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            *(str(self._python), "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
            *("--junitxml", str(report), "-k", select, *(f"{RESOURCES}/{name}" for name in FILES)),
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "TEST_API_BASE_URL": url, "TEST_API_KEY": key},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        (self._folder / "output.txt").write_bytes(output)
        assert process.returncode in (0, 1), output.decode()[-3000:]
        cases = ElementTree.parse(report).getroot().iter("testcase")
        return {_name(case): len(case) == 0 for case in cases}


def _name(case: ElementTree.Element) -> str:
    module = case.attrib["classname"].removeprefix(f"{RESOURCES.replace('/', '.')}.")
    return f"{module}.{case.attrib['name']}"


def installed(folder: Path) -> Suite:
    """Skips, and says so, where the registry is out of reach."""
    uv = BIN / "uv"
    command = str(uv) if uv.exists() else shutil.which("uv")
    if command is None:
        pytest.skip("NOT TESTED with the suite of openai: there is no uv on this machine")
    python = folder / "venv" / "bin" / "python"
    _do(command, "venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
    locked = ("--require-hashes", "-r", str(REQUIREMENTS))
    _do(command, "pip", "install", "--quiet", "--python", str(python), *locked)
    wanted = folder / "openai.txt"
    wanted.write_text(_pin("openai"))
    source = ("--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes")
    _do(str(python), "-m", "pip", "download", "-q", *source, "-r", str(wanted), "-d", str(folder))
    root = f"openai-{version('openai')}"
    with tarfile.open(folder / f"{root}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    _prepare(folder / root)
    return Suite(folder / root, python)


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    if done.returncode != 0:
        pytest.skip(f"NOT TESTED with the suite of openai: {command[:4]}: {done.stderr[-300:]}")


def _pin(name: str) -> str:
    """The requirement with all of its hashes, without extras: the wheel's and the source's."""
    found = re.search(
        rf"^{name}(\[\w+\])?(==(?:[^\n]*\\\n)+[^\n]*\n)", REQUIREMENTS.read_text(), re.MULTILINE
    )
    assert found is not None
    assert found[2].startswith(f"=={version(name)} "), "the suite is of another version than the SDK here"
    return name + found[2]


def _prepare(root: Path) -> None:
    conftest = root / "tests" / "conftest.py"
    written, keys = KEY_LINE.subn('api_key = os.environ["TEST_API_KEY"]', conftest.read_text())
    assert keys == 1
    conftest.write_text(written)
    for name, replacements in AMENDED.items():
        path = root / RESOURCES / name
        text = path.read_text()
        for old, new, _ in replacements:
            text, count = re.subn(old, new, text)
            assert count > 0, old
        (path.parent / path.name.replace("test_", "test_amended_")).write_text(text)
