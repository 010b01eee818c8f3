"""The API keeps to its own description: what schemathesis makes of it gets what it promises."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

schemathesis = pytest.importorskip("schemathesis", reason="the dev extra brings schemathesis")

PATHS = {
    "/health",
    "/metrics",
    "/ready",
    "/v1/embed",
    "/v1/records",
    "/v1/search",
    "/v1/verify",
}


def test_all_routes_of_the_design_are_described(address: str) -> None:
    described = httpx.get(f"{address}/openapi.json").json()
    assert set(described["paths"]) == PATHS
    assert set(described["paths"]["/v1/records"]) == {"get", "post", "delete"}


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/embed", "POST"),
        ("/v1/search", "POST"),
        ("/v1/verify", "POST"),
        ("/v1/records", "POST"),
        ("/v1/records", "GET"),
        ("/v1/records", "DELETE"),
    ],
)
@pytest.mark.parametrize("right", [True, False])
def test_what_is_made_from_the_description_is_answered_as_described(
    address: str, path: str, method: str, right: bool
) -> None:
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operation = schema[path][method]
    mode = schemathesis.GenerationMode.POSITIVE if right else schemathesis.GenerationMode.NEGATIVE
    checks = schemathesis.checks
    wanted = [
        checks.not_a_server_error,
        schemathesis.specs.openapi.checks.status_code_conformance,
        schemathesis.specs.openapi.checks.content_type_conformance,
        schemathesis.specs.openapi.checks.response_schema_conformance,
    ]

    @settings(
        max_examples=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: object) -> None:
        case.call_and_validate(checks=wanted)

    answered()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=60), st.sampled_from(sorted(PATHS)), st.sampled_from(["GET", "POST", "PUT", "DELETE"])
)
def test_any_bytes_get_an_answer_of_ours(address: str, body: bytes, path: str, method: str) -> None:
    answer = httpx.request(method, address + path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code < 500
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) == {"code", "message", "request"}
