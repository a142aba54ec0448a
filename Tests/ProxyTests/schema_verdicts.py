"""Says of each JSON value of a list on standard input whether it fits a schema: one line each, `ok` or why not.

Usage: schema_verdicts.py SCHEMA
"""
import json
import sys

import jsonschema

with open(sys.argv[1]) as file:
    schema = json.load(file)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for value in json.load(sys.stdin):
    faults = sorted(validator.iter_errors(value), key=lambda fault: list(map(str, fault.path)))
    print("ok" if not faults else "bad " + faults[0].message.replace("\n", " "))
