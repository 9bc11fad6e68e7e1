"""YAML as files of settings have it: plain values, nothing that grows, and numbers as they are read everywhere else."""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """No aliases: a few of them are a file of gigabytes, and none is ever written."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """No key twice: YAML itself takes the last one, without a word."""
        keys = [each.value for each, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        if twice := [each for each in keys if isinstance(each, str) and keys.count(each) > 1]:
            raise yaml.YAMLError(f"{twice[0]!r} is there twice")
        return super().construct_mapping(node, deep)


def _whole_number(loader: yaml.SafeLoader, node: Any) -> int:
    return int(loader.construct_scalar(node))


# Plain values as fields and command lines read them, and YAML since 1.2: 010 is ten; 1:30 and a date are text, so are
# on, off, yes and no, which may be names, and which a setting that is true or false takes as that.
INTEGER, FLOAT, TRUTH = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool"
NOT_READ = (INTEGER, FLOAT, TRUTH, "tag:yaml.org,2002:timestamp")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rows if tag not in NOT_READ]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(INTEGER, re.compile(r"[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    FLOAT,
    re.compile(r"(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver(TRUTH, re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_constructor(INTEGER, _whole_number)


def from_yaml(text: str) -> tuple[Any, str]:
    """The values, or why there are none."""
    try:
        return yaml.load(text, _Loader), ""
    except RecursionError:
        return None, "nested too deeply"
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, OverflowError) as error:
        return None, f"no YAML: {' '.join(str(error).split())[:120]}"
