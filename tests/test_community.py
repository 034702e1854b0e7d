"""What the people around a repository go by: workflows, templates, the citation."""

import re
from pathlib import Path

import pytest

import minitl

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(not (ROOT / ".github").is_dir(), reason="only the repository has them")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_workflows_may_read_alone(path):
    text = path.read_text()
    uses = re.findall(r"uses: (.*)", text)
    assert uses and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in uses), uses
    assert "\npermissions: {contents: read}\n" in text
    assert text.count("timeout-minutes:") == text.count("runs-on:")


def test_every_action_has_one_version():
    pins = {}
    for path in WORKFLOWS:
        for name, commit in re.findall(r"uses: ([\w./-]+)@(.*)", path.read_text()):
            assert pins.setdefault(name, commit) == commit


def test_what_is_written_in_yaml_can_be_read():
    yaml = pytest.importorskip("yaml", reason="mkdocs brings it")
    files = [*(ROOT / ".github").rglob("*.yml"), ROOT / "CITATION.cff"]
    assert len(files) >= 8
    for path in files:
        assert isinstance(yaml.safe_load(path.read_text()), dict), path


def test_the_citation_is_of_this_version():
    assert f"version: {minitl.__version__}\n" in (ROOT / "CITATION.cff").read_text()
