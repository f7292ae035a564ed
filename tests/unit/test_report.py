"""The command `report`: what it writes, and what it says of a file that is no result."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from loadtest.__main__ import cli
from loadtest.result import ModeFigures, RateFigures, read_result

PARTS = {"engine": 2.5, "search": 0.15, "log": 0.01}


def mode(factor: float, **more: Any) -> dict[str, Any]:
    rates = {
        f"{rate:g}": {
            "mean_s": factor * rate,
            "p50_s": factor * rate * 0.9,
            "p99_s": factor * rate * 2,
            "ttft_s": 0.03,
            "first_verdict_s": factor,
            "achieved": rate,
            "errors": 0,
        }
        for rate in (10.0, 1.0, 4.5)
    }
    return {"rates": rates, "throughput_at_4s": 4.0 / factor, "throughput_at_5600ms": 5.6 / factor, **more}


RESULT = {
    "modes": {
        "langgraph": mode(3.0, breakdown={"engine": 5.0, "graph": 1.0}),
        "barrier": mode(2.2, breakdown=PARTS),
        "stream": mode(1.7, breakdown=PARTS),
        "verdict_first": mode(1.1),
    },
    "limit": {"barrier": mode(2.0), "stream": mode(1.6), "verdict_first": mode(1.0)},
    "cost": {"cpu_ms_per_request": 21.5, "by_part": {"homes": 12.0}},
    "machine": {"processor": "a <fast> one", "cores": 2},
    "commit": "0123456789ab+",
    "settings": {"seeds": [1, 2]},
    "delivered": {"wrong": 0},
}


def report(result: object, folder: Path) -> tuple[int, str, dict[str, Path]]:
    file, out = folder / "compare.json", folder / "out"
    file.write_text(result if isinstance(result, str) else json.dumps(result))
    ran = CliRunner().invoke(cli, ["report", str(file), "--out", str(out)])
    return ran.exit_code, ran.output, {path.name: path for path in out.iterdir()} if out.exists() else {}


class Balance(HTMLParser):
    """Whether every element is closed, and what the page would have to fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#"):
                self.fetched.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_mode_is_drawn_and_told(tmp_path: Path) -> None:
    code, output, written = report(RESULT, tmp_path)
    assert code == 0, output
    assert set(written) == {"compare-latency.png", "compare-breakdown.png", "compare.html"}
    assert all(str(path) in output.replace("\n", "") for path in written.values())
    for name in ("compare-latency.png", "compare-breakdown.png"):
        with Image.open(written[name]) as image:
            assert image.width > 1000
            assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 100, "nothing is drawn"
    page = written["compare.html"].read_text()
    for title in ("barrier", "stream", "verdict-first", "LangGraph", "verdict-first, limit"):
        assert f">{title}<" in page
    assert "a &lt;fast&gt; one" in page
    for text in ("0123456789ab+", "cpu_ms_per_request", "21.5", "by_part.homes", "1, 2"):
        assert text in page
    # The limit's barrier keeps 2 requests/s at 4 s; verdict-first 3.64, of its own limit's 4.
    row = re.search(r"<tr><td>verdict-first</td>(.*?)</tr>", page)
    assert row
    assert re.findall(r"<td>(.*?)</td>", row[1])[:3] == ["3.64", "1.82", "91%"]


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    _, _, written = report(RESULT, tmp_path)
    parser = Balance()
    parser.feed(written["compare.html"].read_text())
    parser.close()
    assert parser.open == []
    assert parser.fetched == []


def test_the_same_result_gives_the_same_files(tmp_path: Path) -> None:
    _, _, first = report(RESULT, tmp_path)
    before = {name: path.read_bytes() for name, path in first.items()}
    _, _, again = report(RESULT, tmp_path)
    assert {name: path.read_bytes() for name, path in again.items()} == before


@pytest.mark.parametrize(
    ("result", "shown", "hidden"),
    [
        ({"limit": {"stream": mode(1.0)}}, "stream, limit", ">stream<"),
        ({"modes": {"barrier": mode(1.0)}}, ">barrier<", ", limit<"),
        ({"modes": {"stream": {"rates": {"4": {"mean_s": 3, "p99_s": 5}}}}}, ">stream<", "LangGraph"),
    ],
)
def test_what_was_not_measured_is_not_drawn(result: object, shown: str, hidden: str, tmp_path: Path) -> None:
    code, output, written = report(result, tmp_path)
    assert code == 0, output
    assert set(written) == {"compare-latency.png", "compare.html"}
    page = written["compare.html"].read_text()
    assert shown in page
    assert hidden not in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON (Expecting property name enclosed in double quotes, line 1)"),
        ("[]", "is no result of a load test: Expected `object`, got `array`"),
        ("{}", "neither `$.modes` nor `$.limit` has figures at any rate"),
        ('{"modes": {"stream": {"rates": {}}}}', "neither `$.modes` nor `$.limit` has figures at any rate"),
        ('{"modes": {"stream": {"rates": {"1": {"mean_s": 3}}}}}', "missing required field `p99_s`"),
        ('{"limit": {"stream": {}}}', "missing required field `rates` - at `$.limit[...]`"),
        ('{"modes": {"fast": {"rates": {}}}}', "`$.modes` has 'fast'; known are barrier, stream, verdict_first"),
        ('{"limit": {"langgraph": {"rates": {}}}}', "`$.limit` has 'langgraph'"),
        (
            '{"modes": {"stream": {"rates": {"high": {"mean_s": 3, "p99_s": 4}}}}}',
            "`$.modes.stream.rates` has 'high', which is no rate in requests/s",
        ),
    ],
)
def test_a_file_that_is_no_result_is_named_with_the_cause(text: str, said: str, tmp_path: Path) -> None:
    code, output, written = report(text, tmp_path)
    assert code == 1
    assert output.startswith(f"report: {tmp_path / 'compare.json'}: ")
    assert said in output
    assert not written


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    ran = CliRunner().invoke(cli, ["report", str(tmp_path / "away.json")])
    assert ran.exit_code == 1
    assert f"report: {tmp_path / 'away.json'}: cannot be read (No such file or directory)" in ran.output
    binary = tmp_path / "image.png"
    binary.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    ran = CliRunner().invoke(cli, ["report", str(binary)])
    assert ran.exit_code == 1
    assert "is no JSON" in ran.output


def test_a_curve_goes_up_by_rate() -> None:
    figures = ModeFigures({rate: RateFigures(float(rate), 2 * float(rate)) for rate in ("10", "2.5", "4")})
    assert figures.curve("p99_s") == ([2.5, 4.0, 10.0], [5.0, 8.0, 20.0])


def test_figures_that_are_no_number_are_read(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    rate = {"mean_s": 1.0, "p99_s": 2.0, "first_verdict_s": float("nan")}
    file.write_text(json.dumps({"modes": {"stream": {"rates": {"1": rate}}}}))
    assert read_result(file).modes["stream"].rates["1"].p99_s == 2.0
