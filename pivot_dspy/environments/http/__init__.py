"""Environments of the operations that an OpenAPI description tells of (https://spec.openapis.org)."""
