"""The kinds of definitions: their models, YAML, error messages and JSON Schemas."""
