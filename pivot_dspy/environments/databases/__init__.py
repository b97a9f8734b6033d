"""The databases behind a `SQLEnvironment`: how each is copied, kept from writes, and changed as a whole."""
