"""Signatures: equal to botocore's, whatever is signed."""

from __future__ import annotations

import random
import string
from datetime import UTC, datetime

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from invoker.signing import Credentials, Signer

CHARACTERS = string.ascii_letters + string.digits + "-_:$./+ é"


def text(chance: random.Random, most: int) -> str:
    return "".join(chance.choices(CHARACTERS, k=chance.randint(1, most)))


def test_signatures_equal_those_of_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    signers = [
        (url, base, region, Signer(url.partition("//")[2], region, base=base))
        for url, base, region in (
            ("https://lambda.eu-west-1.amazonaws.com", "", "eu-west-1"),
            ("http://127.0.0.1:4566", "/some~base/x", "us-east-1"),
        )
    ]
    keys = [
        Credentials("AKIA1", text(chance, 40), None),
        Credentials(
            "ASIA2", text(chance, 40), "".join(chance.choices(string.ascii_letters, k=900))
        ),
    ]
    for _ in range(400):
        url, base, region, signer = chance.choice(signers)
        key, function = chance.choice(keys), text(chance, 70)
        payload = chance.randbytes(chance.choice([0, 1, 100, 3000]))
        # Few different days and seconds, so that what is kept is used and is replaced.
        now = chance.choice([0, 86_400, 2_000_000_000]) + chance.choice([0, 1]) + chance.random()
        head = signer.head(function, payload, key, now).decode()
        line, *headers = head.removesuffix("\r\n\r\n").split("\r\n")
        sent = dict(header.split(": ", 1) for header in headers)

        theirs = AWSRequest("POST", url + line.split(" ")[1], data=payload)
        theirs.headers["X-Amz-Invocation-Type"] = "Event"
        monkeypatch.setattr(
            botocore.auth, "get_current_datetime", lambda now=now: datetime.fromtimestamp(now, UTC)
        )
        boto = BotoCredentials(key.access_key, key.secret_key, key.token)
        botocore.auth.SigV4Auth(boto, "lambda", region).add_auth(theirs)
        assert sent["Authorization"] == theirs.headers["Authorization"]
        assert sent["x-amz-date"] == theirs.headers["X-Amz-Date"]
        assert sent.get("x-amz-security-token") == theirs.headers.get("X-Amz-Security-Token")
        assert line.startswith(f"POST {base}/2015-03-31/functions/")
        assert int(sent["Content-Length"]) == len(payload)
