"""The fake Lambda's layers; functions keep theirs when one is deleted."""

# ruff: noqa: N803 - arguments are spelled as boto3 spells them

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.bootstrap.fake_answers import code_facts, missing, paged, without
from tests.bootstrap.fake_aws import Answer, copied, operation
from tests.bootstrap.fake_state import LambdaState


class Layers(LambdaState):
    """The operations on layers."""

    @operation(201)
    def publish_layer_version(
        self, /, *, LayerName: str, Content: Mapping[str, Any], Description: str = "", **fits: Any
    ) -> Answer:
        """Publish a version of a layer; each call makes a new one."""
        assert fits.keys() <= {"CompatibleRuntimes", "CompatibleArchitectures"}
        content = self._zip(**Content)
        number = self._layer_numbers.get(LayerName, 0) + 1
        self._layer_numbers[LayerName] = number
        arn = self._arn("layer", LayerName)
        location = f"https://awslambda.example/{LayerName}/{number}"
        layer: Answer = {
            "Content": {"Location": location, **code_facts(content)},
            "LayerArn": arn,
            "LayerVersionArn": f"{arn}:{number}",
            "Description": Description,
            "CreatedDate": self._date(),
            "Version": number,
            **copied(fits),
        }
        self._layers.setdefault(LayerName, []).insert(0, layer)
        return copied(layer)

    @operation()
    def list_layer_versions(
        self, *, LayerName: str, Marker: str | None = None, MaxItems: int = 50
    ) -> Answer:
        """List a layer's versions, newest first; none if there is no such layer."""
        page, more = paged(self._layers.get(LayerName, []), Marker, MaxItems)
        listed = [without(layer, {"Content", "LayerArn"}) for layer in page]
        return {"LayerVersions": copied(listed), **more}

    @operation()
    def get_layer_version_by_arn(self, *, Arn: str) -> Answer:
        """Read a version of a layer; those of other accounts are not known."""
        for layer in self._layers.get(Arn.split(":")[6], []):
            if layer["LayerVersionArn"] == Arn:
                return copied(layer)
        raise missing("The resource you requested does not exist.")

    @operation(204)
    def delete_layer_version(self, *, LayerName: str, VersionNumber: int) -> Answer:
        """Delete a version of a layer; one that is gone is fine."""
        layers = self._layers.get(LayerName, [])
        layers[:] = [layer for layer in layers if layer["Version"] != VersionNumber]
        return {}
