"""What mkdocs does beside its own work: links to files outside docs/.

A link from a page to a file of the project that is not in docs/ puts a copy of that file into the site, so that one
link works on a code host and in the site. A link to a file that is not there fails the build (mkdocs.yml).
"""

import os
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
# Where the copies lie in the site.
COPIES = "project"


def on_files(files, config):
    """Add the project's files that pages link to, and those that these link to."""
    waiting = [(page.src_uri, Path(page.abs_src_path).read_text("utf-8")) for page in files.documentation_pages()]
    while waiting:
        uri, text = waiting.pop()
        for _, target, _ in LINK.findall(text):
            path = _outside(uri, target)
            if path is None or files.get_file_from_path(f"{COPIES}/{path}"):
                continue
            copy = {"abs_src_path": str(ROOT / path), "inclusion": InclusionLevel.NOT_IN_NAV}
            files.append(File.generated(config, f"{COPIES}/{path}", **copy))
            if path.endswith(".md"):
                waiting.append((f"{COPIES}/{path}", (ROOT / path).read_text("utf-8")))
    return files


def on_page_markdown(markdown, page, **_):
    """Point links at the copies."""
    return LINK.sub(lambda match: match[1] + _in_site(page.file.src_uri, match[2]) + match[3], markdown)


def _project_path(uri: str, target: str) -> str:
    """Where a link of the page `uri` points to, as a path in the project."""
    page = uri.removeprefix(f"{COPIES}/") if uri.startswith(f"{COPIES}/") else f"docs/{uri}"
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def _outside(uri: str, target: str) -> str | None:
    """The path of a linked file that is in the project and not in docs/; None for all others."""
    path = _project_path(uri, target)
    return path if not path.startswith(("docs/", "../")) and (ROOT / path).is_file() else None


def _in_site(uri: str, target: str) -> str:
    """The link as the site needs it, relative to the page `uri`."""
    path = _project_path(uri, target)
    if path.startswith("docs/"):
        path = path.removeprefix("docs/")
    elif _outside(uri, target):
        path = f"{COPIES}/{path}"
    else:
        return target
    return os.path.relpath(path, posixpath.dirname(uri) or ".")
