#!/usr/bin/env python3
"""Links of the book that lead to files of the repository, and the check of all links of the built book.

    book-links.py preprocess [supports RENDERER]   a preprocessor of mdBook (docs/book.toml)
    book-links.py check BOOK                       checks the built book; exits with 1 if a link is broken

A page in docs/ may link a file outside of docs/, such as ../crates/meantime-core/src/lib.rs. In the
repository that link works as it is. The preprocessor turns it into repository/<path>.txt, and `check` copies
the linked files there, so that a browser shows them.
"""
import html.parser
import json
import os
import posixpath
import re
import shutil
import sys
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COPIES = "repository"
MARKDOWN = ".markdown"
LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def rewrite(content, page):
    """Turns the links of one page that leave docs/ into links to the copies."""
    folder = posixpath.dirname(page)

    def link(match):
        target, _, anchor = match.group(2).partition("#")
        path = posixpath.normpath(posixpath.join("docs", folder, target))
        if "://" in target or not target or path.startswith("docs/"):
            return match.group(0)
        # mdBook turns the ending .md into .html, wherever it stands.
        copy = posixpath.join(COPIES, re.sub(r"\.md$", MARKDOWN, path) + ".txt")
        copy = posixpath.relpath(copy, folder or ".")
        return match.group(1) + copy + match.group(3)

    # Code blocks stay as they are.
    parts = re.split(r"(^```.*?^```)", content, flags=re.M | re.S)
    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in parts)


def preprocess():
    _, book = json.load(sys.stdin)

    def walk(items):
        for item in items:
            chapter = item.get("Chapter") if isinstance(item, dict) else None
            if chapter:
                if chapter.get("path"):
                    chapter["content"] = rewrite(chapter["content"], chapter["path"].replace(os.sep, "/"))
                walk(chapter["sub_items"])

    # mdBook 0.4 names the list `sections`, 0.5 `items`.
    walk(book.get("items") or book.get("sections"))
    json.dump(book, sys.stdout)


class Page(html.parser.HTMLParser):
    """The anchors of a page, and where its links lead."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links = set(), []
        with open(path, encoding="utf-8") as file:
            self.feed(file.read())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        for name in ("href", "src", "srcset"):
            if attributes.get(name):
                self.links.append(attributes[name])


def check(book):
    # The page of all pages repeats the others, and the page of errors stands for any address.
    names = [
        os.path.relpath(os.path.join(folder, name), book)
        for folder, _, files in os.walk(book)
        for name in files
        if name.endswith(".html") and name not in ("print.html", "404.html", "toc.html")
    ]
    pages = {name: Page(os.path.join(book, name)) for name in sorted(names)}
    links, broken = 0, []
    for name, page in pages.items():
        for link in page.links:
            url = urllib.parse.urlsplit(link)
            if url.scheme or url.netloc:
                continue
            links += 1
            path, anchor = urllib.parse.unquote(url.path), urllib.parse.unquote(url.fragment)
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            found = os.path.join(book, target)
            if not os.path.isfile(found) and target.startswith(COPIES + "/"):
                source = re.sub(re.escape(MARKDOWN) + "$", ".md", target[len(COPIES) + 1 : -len(".txt")])
                source = os.path.join(ROOT, source)
                if os.path.isfile(source):
                    os.makedirs(os.path.dirname(found), exist_ok=True)
                    shutil.copyfile(source, found)
            if not os.path.isfile(found):
                broken.append(f"{name}: {link} leads to no file")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                broken.append(f"{name}: {link} leads to no heading")
    print("\n".join(broken), file=sys.stderr)
    print(f"{len(pages)} pages, {links} links, {len(broken)} broken")
    return 1 if broken else 0


def main(arguments):
    if arguments[:1] == ["preprocess"]:
        if arguments[1:2] != ["supports"]:
            preprocess()
        return 0
    if len(arguments) == 2 and arguments[0] == "check":
        return check(arguments[1])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
