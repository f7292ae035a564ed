"""A stage that raises in a running system: what ask, log, dead letter and story say; and what a stage prints."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.e2e.systems import Process, up, wait_for

EXAMPLES = Path(__file__).parents[2] / "examples"
FAILING = """
    print("looked up:", term.term)
    if term.term == "boom":
        held = term.term + " held"
        raise LookupError(held)
    found ="""


def test_a_map_that_raises_is_told_everywhere(tmp_path: Path) -> None:
    text = (EXAMPLES / "glossary.py").read_text().replace("\n    found =", FAILING)
    (tmp_path / "glossary.py").write_text(text)
    line = text.splitlines().index("        raise LookupError(held)") + 1
    writes = {"stage": "terms", "writes": "lava\nboom\nbasalt\n"}
    (tmp_path / "glossary.jsonl").write_text(json.dumps(writes) + "\n")
    options = ["--app", "glossary:pipeline", "--engine", "scripted", "--script", "glossary.jsonl"]
    with up(tmp_path, {}, *options) as system:
        asking = command(tmp_path, "ask", "--gateway", system.gateway, "Lava goes boom.")
        assert asking.wait() == 1, asking.said()
        told = re.search(r"meanings raised LookupError at 1; to see more: alto-streams story (\S+),", asking.said())
        assert told is not None, asking.said()
        assert '"unknown": [\n' in asking.said()

        env = {"ALTO_PIPELINES": "glossary"}
        listed = command(tmp_path, "dead-letters", "list", "--json", "--request", told[1], env=env)
        assert listed.wait() == 0, listed.said()
        (letter,) = [json.loads(each) for each in listed.said().splitlines() if each.startswith("{")]
        assert (letter["stage"], letter["path"], letter["cause"]) == ("meanings", "1", "meanings raised LookupError")
        raised_at = f'File "{tmp_path / "glossary.py"}", line {line}, in meanings'
        assert raised_at in letter["trace"]
        for arguments in (["dead-letters", "show", letter["id"]], ["story", told[1]]):
            shown = command(tmp_path, *arguments, env=env)
            assert shown.wait() == 0, shown.said()
            assert raised_at in shown.said()
            assert "boom held" not in shown.said()

        (log,) = tmp_path.rglob("meanings*.log")
        wait_for(lambda: raised_at in log.read_text(), log.read_text)
        lines = log.read_text().splitlines()
        (error,) = [each for each in lines if " ERROR " in each and " raised " in each]
        assert f"glossary.meanings: request {told[1]}, path '1': meanings raised LookupError" in error
        assert (
            len([each for each in lines if each.endswith("INFO    stage.glossary.meanings: printed: looked up: lava")])
            == 1
        )
        assert "boom held" not in log.read_text()


def command(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> Process:
    return Process(f"{arguments[0]}-{len(list(folder.glob('*.log')))}", arguments, folder, env or {})
