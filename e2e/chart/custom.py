"""Validates custom resources by their definitions: custom.py CRD.yaml... -- MANIFEST.yaml..."""

import sys

import jsonschema
import yaml


def strict(schema):
    """The API server's form of the schema: a field that it does not have is an error."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    out = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        out["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
            out.setdefault("additionalProperties", False)
    return out


def main():
    border = sys.argv.index("--")
    schemas = {}
    for file in sys.argv[1:border]:
        for crd in yaml.safe_load_all(open(file)):
            spec = crd["spec"]
            for version in spec["versions"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                schemas[spec["group"] + "/" + version["name"], spec["names"]["kind"]] = schema
    bad = 0
    for file in sys.argv[border + 1:]:
        for manifest in yaml.safe_load_all(open(file)):
            kind = manifest["kind"]
            errors = list(jsonschema.Draft7Validator(schemas[manifest["apiVersion"], kind]).iter_errors(manifest))
            for error in errors:
                print("invalid:", file, kind, "/".join(map(str, error.absolute_path)), error.message)
            if not errors:
                print("valid:", kind, manifest["metadata"]["name"])
            bad += len(errors)
    sys.exit(1 if bad else 0)


main()
