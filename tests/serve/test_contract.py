"""The service keeps to its own OpenAPI description, whatever is sent."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")


def test_answers_are_as_described(served):
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    def check(case):
        # Files of random bytes follow the description, but are no recordings.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 6
    for operation in operations:
        how = settings(max_examples=5, suppress_health_check=list(HealthCheck), database=None)
        how(given(case=operation.as_strategy())(check))()
