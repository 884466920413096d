"""A CloudFormation template as it is for given parameters: what it makes, and with which values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
BOOTSTRAP = "template-bootstrap.yaml"
NETWORK = "template-network.yaml"
NOTHING = object()
"""A value that is left out, as `AWS::NoValue`."""


class _Loader(yaml.SafeLoader):
    """Reads the short functions as the long ones."""


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt":
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


class Template:
    """One template with its parameters, of which those not given have their defaults."""

    def __init__(self, name: str, **parameters: str) -> None:
        self.text = (ROOT / name).read_text(encoding="utf-8")
        self.body: dict[str, Any] = yaml.load(self.text, _Loader)  # the loader is a safe one
        known = self.body["Parameters"]
        assert parameters.keys() <= known.keys()
        self._parameters = {
            name: str(parameters.get(name, one.get("Default", ""))) for name, one in known.items()
        }

    @property
    def resources(self) -> Mapping[str, dict[str, Any]]:
        """The resources that are made, with what their functions give as far as that is known."""
        return self._made("Resources")

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The values of the outputs."""
        return {name: one["Value"] for name, one in self._made("Outputs").items()}

    def properties(self, name: str) -> dict[str, Any]:
        """Give the properties of a resource."""
        found: dict[str, Any] = self.resources[name]["Properties"]
        return found

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Give the properties of all resources of a type, by their names."""
        return {
            name: one["Properties"] for name, one in self.resources.items() if one["Type"] == kind
        }

    def statements(self, role: str) -> dict[str, dict[str, Any]]:
        """Give the statements of a role's or a managed policy's own policies, by their names."""
        properties = self.properties(role)
        policies = properties.get("Policies", [properties])
        return {
            statement["Sid"]: statement
            for policy in policies
            for statement in policy["PolicyDocument"]["Statement"]
        }

    def _made(self, section: str) -> dict[str, dict[str, Any]]:
        return {
            name: self.value(one)
            for name, one in self.body[section].items()
            if "Condition" not in one or self.holds(one["Condition"])
        }

    def holds(self, condition: Any) -> bool:
        """Tell whether a condition holds, by its name or by its function."""
        if isinstance(condition, str):
            return self.holds(self.body["Conditions"][condition])
        ((function, of),) = condition.items()
        match function:
            case "Condition":
                return self.holds(of)
            case "Fn::Equals":
                return bool(self.value(of[0]) == self.value(of[1]))
            case "Fn::Not":
                return not self.holds(of[0])
            case "Fn::And":
                return all(map(self.holds, of))
            case "Fn::Or":
                return any(map(self.holds, of))
        raise AssertionError(f"no condition: {condition}")

    def value(self, of: Any) -> Any:
        """Give a value with its conditions decided and its parameters filled in."""
        if isinstance(of, list):
            return [one for one in map(self.value, of) if one is not NOTHING]
        if not isinstance(of, dict):
            return of
        if len(of) == 1:
            ((function, inner),) = of.items()
            match function:
                case "Ref" if inner == "AWS::NoValue":
                    return NOTHING
                case "Ref" if inner in self._parameters:
                    return self._parameters[inner]
                case "Fn::If":
                    return self.value(inner[1] if self.holds(inner[0]) else inner[2])
                case "Fn::Join" if all(isinstance(one, str) for one in self._listed(inner[1])):
                    return inner[0].join(self._listed(inner[1]))
                case "Fn::Sub" if isinstance(inner, str):
                    return self._filled(inner)
        found = {name: self.value(one) for name, one in of.items()}
        return {name: one for name, one in found.items() if one is not NOTHING}

    def _listed(self, of: Any) -> list[Any]:
        found = self.value(of)
        return found if isinstance(found, list) else [found]

    def _filled(self, text: str) -> str:
        for name, value in self._parameters.items():
            text = text.replace(f"${{{name}}}", value)
        return text
