"""How the fields of a contract are told in ``--help``, from its JSON Schema: what each takes, and what it means."""

from typing import Any

LONGEST_CHOICE = 60
"""Characters of choices that still fit beside an option; longer ones go into its help."""

Schema = dict[str, Any]


def kinds(schema: Schema, root: Schema) -> list[Schema]:
    """The plain schemas a field chooses from, null left out."""
    if "$ref" in schema:
        return kinds(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if parts := schema.get("anyOf") or schema.get("oneOf"):
        return [kind for part in parts for kind in kinds(part, root)]
    return [] if schema.get("type") == "null" else [schema]


def is_list(found: list[Schema]) -> bool:
    """Whether a field of these kinds takes many values, and may be given once for each."""
    return bool(found) and all(kind.get("type") == "array" and "prefixItems" not in kind for kind in found)


def is_nested(found: list[Schema]) -> bool:
    """Whether a field of these kinds is written as JSON."""
    return all(kind.get("type") in ("object", "array") for kind in found)


def takes(found: list[Schema], root: Schema) -> tuple[str, str]:
    """What a field is shown to take, and its choices where they are too many to stand there."""
    if is_list(found):
        return takes(kinds(found[0].get("items", {}), root), root)
    shown, choices = [], ""
    for kind in found:
        if "enum" in kind or "const" in kind:
            listed = [str(choice) for choice in kind.get("enum", [kind.get("const")])]
            shown.append("|".join(listed) if len("|".join(listed)) <= LONGEST_CHOICE else "CHOICE")
            choices = ", ".join(listed) if shown[-1] == "CHOICE" else choices
        else:
            shown.append(_word(kind))
    return "|".join(dict.fromkeys(shown)) or "JSON", choices


def means(schema: Schema, *, required: bool, choices: str) -> str:
    """What a field means, whether it must be given, and what it may be."""
    default = schema.get("default")
    told = [schema.get("description", ""), f"one of {choices}" if choices else ""]
    known = f"[default: {str(default).lower() if isinstance(default, bool) else default}]"
    note = "[required]" if required else known if default not in (None, "", [], {}) else ""
    return " ".join(word for word in ("; ".join(filter(None, told)), note) if word)


def nested(flag: str, schema: Schema, root: Schema) -> str:
    """What is written as JSON into an option, field by field; nothing for an option that takes no object."""
    found = kinds(schema, root)
    each = kinds(found[0].get("items", {}), root) if is_list(found) else found
    for kind in each:
        if "properties" in kind:
            return f"{flag} takes JSON{', each' if is_list(found) else ''} with\n{_lines(kind, root)}"
        for pattern, value in kind.get("patternProperties", {}).items():
            word = _word({"type": "string", "pattern": pattern})
            key = kind.get("propertyNames", {}).get("description", word) if word == "TEXT" else word
            inside = kinds(value, root)
            if inside and "properties" in inside[0]:
                return f"{flag} takes JSON, for each key ({key}) an object with\n{_lines(inside[0], root)}"
            return f"{flag} takes JSON, for each key ({key}) a {takes(inside, root)[0]}"
    return ""


def _lines(kind: Schema, root: Schema) -> str:
    lines = []
    for name, schema in kind["properties"].items():
        shown, choices = takes(kinds(schema, root), root)
        listed = f"[{shown}, …]" if is_list(kinds(schema, root)) else shown
        meaning = means(schema, required=name in kind.get("required", ()), choices=choices)
        lines.append(f'- "{name}": {listed}  {meaning}'.rstrip())
    return "\n".join(lines)


def _word(kind: Schema) -> str:
    if kind.get("format") == "date-time":
        return "MOMENT"
    if kind.get("format") == "date":
        return "DATE"
    if str(kind.get("pattern", "")).startswith("^[0-9a-f]{8}-"):
        return "UUID"
    words = {"string": "TEXT", "integer": "INTEGER", "number": "NUMBER", "boolean": "true|false"}
    return words.get(str(kind.get("type")), "JSON")
