"""The JSON that is built by column equals the documents of the batch."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fleet.delivery.batch import Batch, Value
from fleet.delivery.targets.http.target import build_payload
from tests.fleet.delivery.scripted_server import SOURCE, reading
from worker.storage.schema import FurtherColumn

VALUES: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, 1, 0, "", "%s", "\x00", '"', "°C"]),
    st.text(),
    st.binary(max_size=3),
)


def sayable(value: Value) -> bool:
    return not isinstance(value, bytes) and not (isinstance(value, float) and not math.isfinite(value))


@given(st.lists(VALUES, max_size=6), st.lists(st.sampled_from([1.7e308, -1.7e308, 0.0]), min_size=6, max_size=6))
def test_the_body_says_what_the_documents_say(values: list[Value], large: list[float]) -> None:
    """For all values that JSON can represent; an infinite sum of large values is not an infinite value."""
    rows = tuple(
        (*reading(number, value)[:4], large[number], *reading(number)[5:]) for number, value in enumerate(values)
    )
    batch = Batch(SOURCE, rows)

    payload = build_payload(batch)

    document = json.loads(payload.body)
    said = [one for one, value in zip(batch.documents(), values, strict=True) if sayable(value)]
    names = batch.documents()[0] if values else ()
    assert repr(said) == repr([{name: one[name] for name in names} for one in document["readings"]])
    assert [number for number, value in enumerate(values) if not sayable(value)] == list(payload.rejected)
    assert [one["id"] for one in said] == list(payload.batch.ids)


def test_the_columns_of_the_kinds_of_sensor_are_declared() -> None:
    """With their types, so that a server need not guess; without such columns nothing is said."""
    columns = (FurtherColumn("co2", "REAL"), FurtherColumn("status", "TEXT"))
    source = replace(SOURCE, columns=(*SOURCE.columns, "co2", "status"), further=columns)
    document = json.loads(build_payload(Batch(source, ((*reading(0), 412.5, "OK"),))).body)

    assert {"co2": "REAL", "status": "TEXT"} == document["columns"]
    assert (412.5, "OK") == (document["readings"][0]["co2"], document["readings"][0]["status"])
    assert "columns" not in json.loads(build_payload(Batch(SOURCE, (reading(0),))).body)
