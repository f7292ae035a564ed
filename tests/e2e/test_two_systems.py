"""Two systems on a machine, each with a pipeline of its own: commands find the one that is meant."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.systems import process, up, write_rows
from tests.readme import write_summaries

ROW = {"id": "one", "prompt": "What is the capital of France?", "response": "Paris.", "claims": []}
SAID = "using the system of "


def test_each_command_says_whose_it_is(tmp_path: Path) -> None:
    """`topics check`, `scheduler show` and `record` on the second system, on the first, and where both are meant."""
    folders = [tmp_path / name for name in ("first", "second", "nowhere")]
    for folder in folders:
        folder.mkdir()
        write_summaries(folder)
    first, second, nowhere = folders
    env = {"TMPDIR": str(tmp_path)}
    script = write_rows(tmp_path / "script.jsonl", [ROW])
    own = {"ALTO_PIPELINES": "summaries:pipeline", "ALTO_MODELS": "chat=openai:http://127.0.0.1:9/v1#m"}
    with up(first, env, "--engine", "scripted", "--script", str(script)) as one, up(second, env | own) as other:
        # With the settings of no shell but those that `up` was started with: its file says the rest.
        with process("check", ["topics", "check"], second, env) as checked:
            assert checked.wait() == 0, checked.said()
            assert f"{SAID}var (gateway {other.gateway}, broker kafka://{other.broker})" in checked.said()
            assert "all 14 topics are as wanted" in checked.said()
        with process("infer", ["topics", "infer"], second, env) as inferred:
            assert inferred.wait() == 0
            assert "work.summaries.answers: {" in inferred.said()
        with process("show", ["scheduler", "show", "--json"], second, env) as shown:
            assert shown.wait() == 0, shown.said()
            assert SAID in shown.said()
        with process("record", ["record", "--out", "a.jsonl"], first, env) as recorded:
            recorded.wait()
            assert f"{SAID}var (gateway {one.gateway}" in recorded.said()
        for command in (["ask", "Hello?"], ["topics", "check"], ["dead-letters", "list"]):
            with process("vague", command, nowhere, env) as refused:
                assert refused.wait() == 2, refused.said()
                assert "2 systems run on this machine; say which is meant" in refused.said()
                assert f"ALTO_VAR={second / 'var'}   serves summaries:pipeline at {other.gateway}" in refused.said()
        with process("named", ["topics", "check"], nowhere, {**env, "ALTO_VAR": str(second / "var")}) as named:
            assert named.wait() == 0, named.said()
        with process("beside", ["up", "--port", "8999"], first, env) as beside:
            assert beside.wait() == 2
            assert f"ALTO_VAR={first / 'var'}: the `up` at {one.gateway}" in beside.said()
        asked = ["ask", "--json", str(ROW["prompt"])]
        with process("ask", asked, first, env) as asking:
            assert asking.wait() == 0, asking.said()
            events = [json.loads(line) for line in asking.said().splitlines() if line.startswith("{")]
            assert events[-1]["body"]["status"] == "ok"
    with process("gone", ["topics", "check"], first, env) as gone:
        gone.wait()
        assert SAID not in gone.said()
