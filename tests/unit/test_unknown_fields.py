"""A field that a request's type does not know is found, wherever it stands, with the one that was meant."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from alto_streams.gateway.unknown_fields import unknown_field
from alto_streams.pipelines.factcheck import Question


class Place(msgspec.Struct):
    city: str
    country_code: str = "es"


class Walk(msgspec.Struct, tag_field="kind", tag="walk"):
    length_km: float


class Ride(msgspec.Struct, tag_field="kind", tag="ride"):
    wheels: int = 2


class Trip(msgspec.Struct, rename="camel"):
    first_place: Place | None = None
    places: Annotated[list[Place], msgspec.Meta(max_length=9)] = []
    by_name: dict[str, Place] = {}
    parts: list[Walk | Ride] = []
    pair: tuple[int, Place] | None = None
    free: Any = None
    note: str | list[str] = ""


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (Question, {"prompt": "x", "stop_at_first_flase": True}, "stop_at_first_flase: stop_at_first_false"),
        (Question, {"prompt": "x", "colour": "red"}, "colour: None"),
        (Trip, {"first_place": {}}, "first_place: firstPlace"),  # the wire's names count
        (Trip, {"firstPlace": {"city": "x", "cuontry_code": 1}}, "firstPlace.cuontry_code: country_code"),
        (Trip, {"places": [{"city": "x"}, {"citty": "y"}]}, "places[1].citty: city"),
        (Trip, {"byName": {"home": {"city": "x", "county_code": ""}}}, "byName[home].county_code: country_code"),
        (Trip, {"parts": [{"kind": "ride", "wheel": 3}]}, "parts[0].wheel: wheels"),
        (Trip, {"pair": [1, {"city": "x", "zip": 1}]}, "pair[1].zip: None"),
    ],
)
def test_an_unknown_field_is_named_with_the_nearest(kind: type, value: Any, said: str) -> None:
    found = unknown_field(kind, value)
    assert found is not None
    assert f"{found.place}: {found.near}" == said
    assert found.near is None or found.known[0] == found.near
    assert str(found).startswith(f"there is no field `{found.place.rpartition('.')[2]}`; ")


@pytest.mark.parametrize(
    "value",
    [
        {"places": [{"city": "x"}], "parts": [{"kind": "walk", "lengthKm": 1}, {"kind": "ride"}][1:], "note": ["a"]},
        {"free": {"anything": {"goes": 1}}, "firstPlace": None, "note": "x"},
        {"places": {"city": 1}, "pair": "x", "byName": [1]},  # of wrong types, which is for the decoder to say
        [1],
        "x",
    ],
)
def test_what_is_known_or_of_another_type_is_none(value: Any) -> None:
    assert unknown_field(Trip, value) is None
