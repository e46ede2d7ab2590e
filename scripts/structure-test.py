#!/usr/bin/env python3
"""Checks how the source files depend on each other.

    scripts/structure-test.py             # exits 0 if all rules hold
    scripts/structure-test.py --graph     # prints which file imports which

- No circles: in each crate, no file imports another that imports it back, be it through others.
- Rooms: a room of src/ imports only rooms below it (ROOMS).
- Types: in the core, no name of a type is defined twice.
- Long tests: each ignored test says `#[ignore = "long: scripts/check.sh runs it"]`.

A file imports another if it names something that is defined there. A name that a module only passes on
(`pub use`) counts for the file that defines it. Unit tests (`#[cfg(test)]`) are not looked at.
"""

import collections
import re
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
CRATES = {
    "meantime": HOME / "src",
    "meantime_core": HOME / "crates" / "meantime-core" / "src",
    "meantime_sim": HOME / "crates" / "meantime-sim" / "src",
    "meantime_load": HOME / "crates" / "meantime-load" / "src",
}
# The rooms of src/ from top to bottom: each may import those of the rows below its own.
ROOMS = [
    ["main"],
    ["cli"],
    ["dashboard"],
    ["event_loop"],
    ["control"],
    ["store"],
    ["report"],
    ["udp"],
    ["clock", "process"],
]
LONG = '#[ignore = "long: scripts/check.sh runs it"]'


def main():
    wrong = []
    graphs = {name: Crate(source) for name, source in CRATES.items() if source.exists()}
    for name, crate in graphs.items():
        if "--graph" in sys.argv:
            for file, targets in sorted(crate.imports.items()):
                print(f"{crate.show(file)} -> {', '.join(sorted(map(crate.show, targets)))}")
        wrong += [f"{name}: a circle of files: {' -> '.join(circle)}" for circle in crate.circles()]
    wrong += rooms(graphs["meantime"]) + duplicates(graphs["meantime_core"]) + ignored()
    for line in wrong:
        print(f"FAILED   {line}")
    if not wrong:
        print(
            f"ok       {sum(len(crate.files) for crate in graphs.values())} files: no circles, rooms in order, no type twice"
        )
    sys.exit(bool(wrong))


def rooms(crate):
    """Imports from one room of the program into another that is not below it."""
    level = {room: height for height, row in enumerate(ROOMS) for room in row}
    wrong = []
    for file, targets in sorted(crate.imports.items()):
        for target in sorted(targets):
            one, other = (module[0] if module else "main" for module in (file, target))
            if one == other or not file:
                continue
            if one not in level or other not in level:
                wrong.append(f"the room of {crate.show(file)} or of {crate.show(target)} is not in ROOMS")
            elif level[one] >= level[other]:
                wrong.append(f"{crate.show(file)} imports {crate.show(target)}, which is no room below it")
    return wrong


def duplicates(crate):
    """Names of types that are defined in more than one place."""
    found = collections.defaultdict(list)
    for module, text in crate.text.items():
        for name in re.findall(
            r"^\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|type|union) (\w+)", text, re.M
        ):
            found[name].append(crate.show(module))
    # Associated types of traits are written `type Output = …` inside of an `impl`, and define no new name.
    associated = set(re.findall(r"^ {4,}type (\w+)", "\n".join(crate.text.values()), re.M))
    return [
        f"the core defines {name} in {', '.join(places)}"
        for name, places in sorted(found.items())
        if len(places) > 1 and name not in associated
    ]


def ignored():
    """Tests that are ignored without saying where they run."""
    wrong = []
    for folder in ("src", "crates", "tests", "scripts"):
        for path in sorted((HOME / folder).rglob("*.rs")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if "#[ignore" in line and line.strip() != LONG:
                    wrong.append(f"{path.relative_to(HOME)}:{number}: {line.strip()}, but not {LONG}")
    return wrong


class Crate:
    """The modules of a crate: each is a tuple of names, the root the empty one."""

    def __init__(self, source):
        self.source = source
        self.files = {self._module(path): path for path in sorted(source.rglob("*.rs"))}
        for module in [
            module
            for module in self.files
            if module[:1] in (("main",), ("tests",)) or module[-1:] == ("tests",)
        ]:
            if module != ("main",) or () in self.files:
                self.files.pop(module)
        self.text = {
            module: without_tests(plain(path.read_text(encoding="utf-8")))
            for module, path in self.files.items()
        }
        self.uses = {module: uses_of(text) for module, text in self.text.items()}
        self.imports = {module: self._imports(module) for module in self.files}

    def _module(self, path):
        parts = path.relative_to(self.source).with_suffix("").parts
        return () if parts == ("lib",) else parts[:-1] if parts[-1] == "mod" else parts

    def show(self, module):
        return str(self.files[module].relative_to(HOME))

    def _imports(self, module):
        found = set()
        body = re.sub(r"\buse [^;]+;", "", self.text[module])
        for path, name, passed_on in self.uses[module]:
            # What is only passed on is no import of this file.
            if not passed_on or re.search(rf"\b{re.escape(name)}\b", body):
                found |= self._resolve(module, path)
        children = [each[-1] for each in self.files if each[:-1] == module and each]
        start = "|".join(["crate", "super", "self", *map(re.escape, children)])
        for match in re.finditer(rf"(?<![\w:])(?:{start})(?:::\w+)+", body):
            found |= self._resolve(module, match.group().split("::"))
        return found - {module}

    def _resolve(self, module, path, depth=0):
        """The modules that define what a path names."""
        at, rest = self._walk(module, path)
        if at is None or depth > 8:
            return set()
        if not rest:
            # The module itself: what is used of it is seen in paths that begin with its name; count the
            # module.
            return {at}
        if rest[0] == "*":
            return {at}
        for target, name, _ in self.uses[at]:
            if name == rest[0] and (at, rest) != (module, path):
                return self._resolve(at, target + rest[1:], depth + 1)
        return {at}

    def _walk(self, module, path):
        """The deepest module of a path, and what is left of the path; None for other crates."""
        path = list(path)
        if path[0] == "crate":
            at, path = (), path[1:]
        elif path[0] in ("self", "super"):
            at = module
            while path and path[0] in ("self", "super"):
                at = at[:-1] if path[0] == "super" else at
                path = path[1:]
        elif (*module, path[0]) in self.files:
            at = module
        else:
            return None, path
        while path and (*at, path[0]) in self.files:
            at, path = (*at, path[0]), path[1:]
        return (at if at in self.files else None), path

    def circles(self):
        """For each group of files that import each other, a shortest circle in it."""
        seen = set()
        for start in sorted(self.files):
            if start in seen:
                continue
            circle = self._circle(start)
            if circle:
                seen.update(circle)
                yield [*map(self.show, circle), self.show(start)]

    def _circle(self, start):
        before, queue = {}, collections.deque([start])
        while queue:
            at = queue.popleft()
            for target in sorted(self.imports[at]):
                if target == start:
                    circle = [at]
                    while circle[-1] != start:
                        circle.append(before[circle[-1]])
                    return circle[::-1]
                if target not in before:
                    before[target] = at
                    queue.append(target)
        return None


def plain(text):
    """Source without comments, without the content of strings and without the scopes of `pub(in …)`."""
    pattern = r'//[^\n]*|/\*.*?\*/|r#".*?"#|b?"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])\''
    text = re.sub(pattern, lambda found: '""' if found.group()[0] in "\"rb'" else "", text, flags=re.S)
    return re.sub(r"\bpub\(in [\w:]+\)", "pub(crate)", text)


def without_tests(text):
    """Source without the items that are compiled for tests only."""
    result, at = [], 0
    for found in re.finditer(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*", text):
        if found.start() < at:
            continue
        result.append(text[at : found.start()])
        end = found.end()
        brace, semicolon = text.find("{", end), text.find(";", end)
        if semicolon != -1 and (brace == -1 or semicolon < brace):
            at = semicolon + 1
            continue
        depth = 0
        for end in range(brace, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                break
        at = end + 1
    return "".join(result) + text[at:]


def uses_of(text):
    """The paths that `use` brings in: (segments, the name here, whether others may see it)."""
    found = []
    for visibility, tree in re.findall(r"(?:^|\s)(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);", text):
        for path, name in expand(tree.strip(), []):
            found.append((path, name, bool(visibility)))
    return found


def expand(tree, prefix):
    tree = tree.strip()
    if not tree:
        return
    if tree.startswith("{"):
        for part in split(tree[1 : tree.rindex("}")]):
            yield from expand(part, prefix)
        return
    head, separator, rest = tree.partition("::")
    if separator:
        yield from expand(rest, [*prefix, head.strip()])
        return
    name, _, other = (word.strip() for word in tree.partition(" as "))
    path = prefix if name == "self" else [*prefix, name]
    yield path, other or path[-1]


def split(text):
    """The parts between the commas that are in no inner braces."""
    depth, part = 0, ""
    for each in text:
        depth += {"{": 1, "}": -1}.get(each, 0)
        if each == "," and depth == 0:
            yield part
            part = ""
        else:
            part += each
    yield part


if __name__ == "__main__":
    main()
