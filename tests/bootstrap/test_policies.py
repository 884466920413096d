"""The templates' policies: no wildcard without a reason beside it, buckets closed, keys guarded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bootstrap.test_template import RESOURCES, TEMPLATE, Loader

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted(ROOT.glob("template-*.yaml"))

WILD = re.compile(
    r"""
    (Resource|Principal|Action|NotAction|NotResource|AWS):\s*\[?\s*["']?\*["']?   # everything
    | ^\s*-\s*["']\*["']\s*$                                       # the same in a list
    | \b[a-z0-9]+:\*                                               # every action of a service
    | :\*:\*: | :\*:(?!["'])                                       # any region or account
    """,
    re.VERBOSE,
)


def wild_lines(lines: list[str]) -> Iterator[int]:
    """Give the numbers of lines of policies with a wildcard; versions of one function are none."""
    for number, line in enumerate(lines):
        text = line.split(" #")[0]
        if not text.lstrip().startswith("#") and WILD.search(text) and in_statement(lines, number):
            yield number


def in_statement(lines: list[str], number: int) -> bool:
    return statement_of(lines, number) is not None


def statement_of(lines: list[str], number: int) -> list[str] | None:
    """Give the lines of a statement up to this one, with the choice around it; None outside."""
    first = number
    indent = len(lines[number]) - len(lines[number].lstrip())
    while first >= 0:
        line = lines[first]
        own = len(line) - len(line.lstrip())
        if re.match(r"\s*- (Sid|Effect):", line) and own <= indent:
            break
        if line.strip() and own < indent - 8:
            return None
        first -= 1
    else:
        return None
    while re.match(r"\s*(#|- !If$|- [A-Z]\w+$)", lines[first - 1]):
        first -= 1
    return lines[first : number + 1]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_wildcard_of_a_policy_has_its_reason_beside_it(template: Path) -> None:
    lines = template.read_text().splitlines()
    bare = [
        f"{template.name}:{number + 1}: {lines[number].strip()}"
        for number in wild_lines(lines)
        if not any("#" in line for line in statement_of(lines, number) or [])
    ]
    assert bare == []


def test_a_wildcard_without_a_reason_would_be_found() -> None:
    """So the test above can fail."""
    lines = (ROOT / "template-bootstrap.yaml").read_text().splitlines()
    found = list(wild_lines(lines))
    assert len(found) >= 8
    bare = [line for line in lines if not line.lstrip().startswith("#")]
    left = [n for n in wild_lines(bare) if not any("#" in x for x in statement_of(bare, n) or [])]
    assert len(left) == len(found)


def statements(name: str) -> list[dict[str, Any]]:
    """Give a role's statements; of a choice the one that is there if its condition holds."""
    policy = RESOURCES[name]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    return [one[1] if isinstance(one, list) else one for one in policy]


def test_only_the_executor_may_read_the_signing_key() -> None:
    """Of the functions; the Invoker passes on what it does not read."""
    for name in ("ExecutorRole", "InvokerRole", "BootstrapRole"):
        reading = [one for one in statements(name) if "secretsmanager" in str(one["Action"])]
        assert len(reading) == (name == "ExecutorRole")
        for one in reading:
            assert one["Resource"] == ["MakesSigningKey", "StoreSigningKey.Id", "SigningKey"]


def test_the_bootstrap_may_read_any_layer_whoever_names_it() -> None:
    """The package's manifest names layers too, which no condition of the template can see."""
    (one,) = [
        one
        for one in RESOURCES["BootstrapRole"]["Properties"]["Policies"][0]["PolicyDocument"][
            "Statement"
        ]
        if "UseLayers" in str(one)
    ]
    assert isinstance(one, dict), "it depends on no condition"
    assert one["Action"] == "lambda:GetLayerVersion"
    assert one["Resource"].endswith(":*:layer:*")


def test_a_client_may_read_the_logs_of_all_three_and_not_start_the_bootstrap() -> None:
    policy = RESOURCES["ClientPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    named = {one["Sid"]: one for one in policy if isinstance(one, dict)}
    groups = str(named["ReadLogs"]["Resource"])
    for component in ("Executor", "Invoker", "Bootstrap"):
        assert f"${{{component}LogGroup}}:*" in groups
    bootstrap = [one for one in policy if "}Bootstrap" in str(one) and "lambda:" in str(one)]
    assert [(one["Sid"], one["Action"]) for one in bootstrap] == [
        ("FindItsLog", "lambda:GetFunctionConfiguration")
    ]


def test_the_signing_key_itself_is_in_no_template_and_no_secret_in_an_output() -> None:
    for path in TEMPLATES:
        text = path.read_text()
        assert not re.search(r"resolve:(secretsmanager|ssm-secure):[^}]*SigningKey", text)
        assert "resolve:" not in str(yaml.load(text, Loader).get("Outputs"))


def test_every_bucket_is_closed_and_encrypted_and_every_queue_too() -> None:
    for path in TEMPLATES:
        resources = yaml.load(path.read_text(), Loader)["Resources"]
        for resource in resources.values():
            told = resource.get("Properties", {})
            if resource["Type"] == "AWS::S3::Bucket":
                assert set(told["PublicAccessBlockConfiguration"].values()) == {True}
                assert told["BucketEncryption"]
                assert told["OwnershipControls"]
            if resource["Type"] == "AWS::SQS::Queue":
                assert told["SqsManagedSseEnabled"]


def test_a_customer_key_is_used_for_everything_that_is_kept_but_the_store() -> None:
    kept = {
        "AWS::S3::Bucket": "KMSMasterKeyID",
        "AWS::SQS::Queue": "KmsMasterKeyId",
        "AWS::Logs::LogGroup": "KmsKeyId",
        "AWS::SecretsManager::Secret": "KmsKeyId",
        "AWS::Serverless::Function": "KmsKeyArn",
        "Custom::WukongFunctions": "KmsKey",
    }
    missing = [
        name
        for name, resource in RESOURCES.items()
        if name != "StoreBucket"
        and resource["Type"] in kept
        and kept[resource["Type"]] not in str(resource["Properties"])
    ]
    assert missing == []
    assert TEMPLATE["Parameters"]["KmsKeyArn"]["Default"] == ""
