import json

import pytest

from airflow_provider_spotmix.kube import errors
from airflow_provider_spotmix.kube.errors import Call, Status, api_error, status_of

LIST_PODS = Call("list", "pods", "spark")


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        pytest.param(401, "Unauthorized", errors.Unauthorized, id="401"),
        pytest.param(403, "Forbidden", errors.Forbidden, id="403"),
        pytest.param(404, "NotFound", errors.NotFound, id="404"),
        pytest.param(409, "Conflict", errors.Conflict, id="409"),
        pytest.param(409, "AlreadyExists", errors.AlreadyExists, id="409-already-exists"),
        pytest.param(410, "Expired", errors.Gone, id="410"),
        pytest.param(422, "Invalid", errors.Invalid, id="422"),
        pytest.param(429, "TooManyRequests", errors.TooManyRequests, id="429"),
        pytest.param(500, "InternalError", errors.ServerError, id="500"),
        pytest.param(503, "ServiceUnavailable", errors.ServerError, id="503"),
        pytest.param(418, "", errors.ApiError, id="anything-else"),
    ],
)
def test_each_refusal_has_its_class(code: int, reason: str, expected: type[errors.ApiError]) -> None:
    assert type(api_error(Status(code, reason), LIST_PODS)) is expected


def test_already_exists_is_no_conflict() -> None:
    assert not issubclass(errors.AlreadyExists, errors.Conflict)


def test_forbidden_names_verb_resource_and_remedy() -> None:
    assert str(api_error(Status(403, "Forbidden", "no"), LIST_PODS)) == (
        "cannot list pods in namespace spark: the API server answered 403 Forbidden: no; "
        "grant the verb 'list' on 'pods' to this user with a Role in namespace spark"
    )
    assert "ClusterRole" in str(api_error(Status(403, "Forbidden", "no"), Call("watch", "nodes")))


def test_a_kind_that_is_not_served_points_to_its_crd() -> None:
    call = Call("list", "sparkapplications.sparkoperator.k8s.io", "spark")
    assert "is its CRD installed?" in str(api_error(Status(404, "NotFound"), call))


def test_a_missing_object_is_told_without_guesses() -> None:
    error = api_error(Status(404, "NotFound", 'pods "p" not found'), Call("get", "pods", "spark", "p"))
    assert str(error) == (
        'cannot get pods p in namespace spark: the API server answered 404 NotFound: pods "p" not found'
    )


def test_the_status_says_when_to_come_back() -> None:
    body = json.dumps({"code": 429, "reason": "TooManyRequests", "details": {"retryAfterSeconds": 7}}).encode()
    assert api_error(status_of(429, body), LIST_PODS).retry_after == 7
    assert api_error(status_of(429, b"{}"), LIST_PODS, retry_after=3).retry_after == 3


def test_what_a_proxy_says_becomes_the_message() -> None:
    assert status_of(502, b"<html>bad gateway</html>\n", "Bad Gateway") == Status(
        502, "Bad Gateway", "<html>bad gateway</html>"
    )
