"""Environments of the tools that servers of the Model Context Protocol offer (https://modelcontextprotocol.io)."""
