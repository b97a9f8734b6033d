"""Which files no tool shows: secrets and caches by patterns of names, and what `.gitignore` files name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from pivot_dspy.errors import ConfigurationError

SECRETS: tuple[str, ...] = (
    ".env", ".env.*", "!.env.example", "!.env.sample", "!.env.template", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx",
    "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.asc", "*.gpg", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*",
    ".ssh/", ".gnupg/", ".aws/", ".azure/", ".gcloud/", ".kube/", ".docker/", ".netrc", "_netrc", ".pgpass", ".my.cnf",
    ".npmrc", ".pypirc", ".git-credentials", ".htpasswd", "credentials", "credentials.*", "secrets.*", "*.secret",
    "service-account*.json", "*.tfstate", "*.tfstate.*", "*.tfvars", ".vault-token",
)  # fmt: skip
"""Patterns, as in a `.gitignore` file, of files that hold what must not reach a model."""

MACHINERY: tuple[str, ...] = (
    ".git", ".hg", ".svn", ".pivot-commit", "__pycache__/", "*.py[co]", ".pytest_cache/", ".mypy_cache/",
    ".ruff_cache/", ".hypothesis/", ".tox/", ".nox/", ".venv/", "venv/", "node_modules/", ".DS_Store",
)  # fmt: skip
"""Patterns of what tools of version control and of builds keep for themselves."""

HIDDEN: tuple[str, ...] = (*SECRETS, *MACHINERY)
"""What is hidden unless other patterns are given."""

ALWAYS = (".git", ".pivot-commit")
"""Hidden whatever patterns are given: what is written there runs as a program, or undoes a commit."""


class Hidden:
    """Which paths, relative to the directory, are not shown; a folder that is hidden hides all below it.

    Args:
        patterns: as in a `.gitignore` file at the top; they hold whatever the letters' case, and whatever `ignores`
            says.
        excludes: further lines of an ignore file at the top, which its own may overrule.
        tracked: paths that are shown although an ignore file names them, as git does with what it tracks; folders end
            with a slash.

    Raises:
        ConfigurationError: `pathspec` is not installed, or a pattern is none.

    >>> hidden = Hidden(HIDDEN, "build/")
    >>> hidden.ignore("docs", "*.pdf")
    >>> [path for path in ("a.py", "a/.ENV", "build/x", "x.pdf", "docs/x.pdf", ".git/config") if path in hidden]
    ['a/.ENV', 'build/x', 'docs/x.pdf', '.git/config']
    """

    def __init__(self, patterns: Iterable[str], excludes: str = "", tracked: frozenset[str] = frozenset()) -> None:
        self._secret = _spec((*patterns, *ALWAYS), lower=True)
        self._ignores: dict[str, Any] = {}
        self._tracked, self._excludes = tracked, excludes
        if excludes:
            self.ignore("", "")

    def ignore(self, folder: str, text: str) -> None:
        """Take up the `.gitignore` file of a folder, `""` for the top."""
        lines = text.splitlines() if folder else [*self._excludes.splitlines(), *text.splitlines()]
        self._ignores[folder] = _spec(tuple(lines), lenient=True)

    def __contains__(self, path: str) -> bool:
        """Whether a path is hidden; that of a folder ends with a slash."""
        if self._secret.match_file(path.lower()):
            return True
        return bool(self._ignores) and path not in self._tracked and self._is_ignored(path)

    def _is_ignored(self, path: str) -> bool:
        parts = path.rstrip("/").split("/")
        places = ["/".join(parts[:end]) + "/" for end in range(1, len(parts))]
        return any(self._is_named(place) for place in (*places, path))

    def _is_named(self, path: str) -> bool:
        """Whether the nearest ignore file that says anything of a path ignores it."""
        folder = path.rstrip("/").rpartition("/")[0]
        while True:
            spec = self._ignores.get(folder)
            if spec is not None:
                said = spec.check_file(path[len(folder) + 1 if folder else 0 :]).include
                if said is not None:
                    return bool(said)
            if not folder:
                return False
            folder = folder.rpartition("/")[0]


@lru_cache(maxsize=256)
def _spec(patterns: tuple[str, ...], *, lower: bool = False, lenient: bool = False) -> Any:
    try:
        from pathspec import GitIgnoreSpec
    except ImportError as error:
        raise ConfigurationError(
            "environments on files need pathspec, which is not installed; pip install 'pivot_dspy[files]'"
        ) from error
    try:
        return GitIgnoreSpec.from_lines([pattern.lower() if lower else pattern for pattern in patterns])
    except ValueError as error:
        if lenient:  # git passes over a line of an ignore file that is no pattern
            return _spec(tuple(pattern for pattern in patterns if _is_pattern(pattern)))
        raise ConfigurationError(f"hidden has a pattern that is none: {error}; write it as in a .gitignore") from error


def _is_pattern(line: str) -> bool:
    try:
        _spec((line,))
    except ConfigurationError:
        return False
    return True
