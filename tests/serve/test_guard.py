"""What every request passes: host, origin, token, requests in flight, the end of a refused upload, headers."""

from __future__ import annotations

import time

from .conftest import sound

CLIP = sound(0.5)


def test_a_token_is_needed_where_there_is_one(started):
    with started(token="open sesame") as server:
        assert server.post(CLIP).status_code == 401
        assert server.client.get("/v1/models").status_code == 401
        assert server.client.get("/metrics").status_code == 401
        wrong = server.post(CLIP, headers={"authorization": "Bearer other"})
        assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, "Bearer")
        assert server.post(CLIP, headers={"authorization": "Bearer open sesame"}).status_code == 200
        assert [server.client.get(path).status_code for path in ("/", "/healthz", "/readyz")] == [200, 200, 200]


def test_other_sites_and_names_are_refused(served):
    assert served.post(CLIP, headers={"host": "attacker.example"}).status_code == 403
    assert served.post(CLIP, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert served.post(CLIP, headers={"sec-fetch-site": "same-origin"}).status_code == 200
    for origin in ("https://other.example", "http://localhost:1", "null", "http://[", served.url + "1"):
        assert served.post(CLIP, headers={"origin": origin}).status_code == 403
    assert served.post(CLIP, headers={"origin": served.url}).status_code == 200
    asked = {"origin": "http://x", "access-control-request-method": "POST"}
    answer = served.client.options("/v1/predict", headers=asked)
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_too_many_requests_at_once_have_the_code_429(started):
    with started(in_flight=1) as server:
        with server.begun(9):
            time.sleep(0.2)
            answer = server.post(CLIP)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        time.sleep(0.2)
        assert server.post(CLIP).status_code == 200


def test_a_refusal_of_a_whole_upload_comes_at_once_and_frees_its_place(started):
    with started(in_flight=1) as server:
        refused = [
            (lambda: server.post(sound(1)[:44] + bytes(32000)), 422),
            (lambda: server.post(CLIP, params={"windw": 3}), 400),
            (lambda: server.post(CLIP, params={"hop": "x"}), 400),
            (lambda: server.post(CLIP, path="/nowhere"), 404),
            (lambda: server.post(CLIP, headers={"origin": "null"}), 403),
            (lambda: server.client.post("/v1/predict", content=b"abc", headers={"content-type": "text/plain"}), 400),
        ]
        for ask, code in refused:
            start = time.monotonic()
            assert ask().status_code == code
            assert time.monotonic() - start < 1


def test_a_refused_upload_that_is_still_coming_is_taken_for_a_moment_and_holds_no_place(started):
    with started(in_flight=1) as server, server.begun(90000, path="/v1/predict?windw=3") as slow:
        time.sleep(0.2)
        start = time.monotonic()
        assert server.post(CLIP).status_code == 200
        assert time.monotonic() - start < 1
        slow.sendall(bytes(90000))
        assert slow.recv(1000).startswith(b"HTTP/1.1 400")


def test_every_answer_forbids_other_hosts(served):
    for path in ("/", "/docs", "/static/main.js", "/healthz", "/nowhere"):
        policy = served.client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy.replace("'self'", "")
    assert served.client.get("/nowhere").json() == {"error": "there is no such address."}
