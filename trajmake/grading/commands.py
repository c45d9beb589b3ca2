"""What a shell command reaches for, by the programs in it and their arguments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath

_HEREDOC = re.compile(
    r"<<-?\s*(?P<quote>['\"]?)(?P<end>\w+)(?P=quote)(?P<rest>[^\n]*)\n(?P<data>.*?)(?:\n\s*(?P=end)[ \t]*(?=\n|$)|\Z)",
    re.DOTALL,
)
_SEPARATORS = re.compile(r"[;&|()\n`]+")
_PARTS = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.""", re.DOTALL)
# A remark, a word with its quotes (a quote that never ends is a word), separators and redirections, the line's end.
_WORDS = re.compile(
    r"""\#[^\n]* | (?:'[^']*' | "(?:\\.|[^"\\])*" | \\. | [^\s;&|()<>`'"\\])+ | [;&|()`]+ | [<>&]+ | \n | ['"\\]""",
    re.DOTALL | re.VERBOSE,
)
_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)|`([^`]*)`")
_REDIRECTION = re.compile(r"[<>&|]*[<>][<>&|]*")
_BEFORE = {
    "sudo",
    "env",
    "time",
    "nohup",
    "exec",
    "command",
    "xargs",
    "then",
    "do",
    "else",
    "if",
    "while",
    "!",
    "{",
    "$",
}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SHELLS = {"bash", "sh", "dash", "zsh"}
_INTERPRETER = re.compile(r"(python|pypy|node|ruby|perl)[0-9.]*$")
_LOCAL = r"(?:localhost|127\.\d+\.\d+\.\d+|\[?::1\]?|0\.0\.0\.0)"
_REMOTE_URL = re.compile(rf"(?:https?|ftp|git|ssh)://(?!(?:[^/@\s]*@)?{_LOCAL}(?:[:/\s'\"]|$))[\w.\[]")
_LOCAL_URL = re.compile(rf"(?:(?:https?|ftp)://)?{_LOCAL}(?:[:/]|$)|file://")
_FETCHING = re.compile(
    r"\b(urlopen|urlretrieve|requests\.(get|post|request|Session)|httpx\.|aiohttp|http\.client|fetch\(|Net::HTTP|LWP|open-uri)"
)
_HOST = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?(/|$)")
_NEVER = {"--help", "-h", "--version", "-V"}

_TRANSFER = {"curl", "wget", "aria2c", "http", "https", "lynx", "w3m", "ftp", "lftp"}
_REMOTE = {"ssh", "scp", "sftp", "nc", "ncat", "telnet"}
_FORGES = {"gh", "hub", "glab"}
_GIT = {"fetch", "clone", "pull", "ls-remote", "push"}
_GIT_REMOTE = {"add", "update", "show", "set-url", "prune"}
_PACKAGES = {
    "npm": {"install", "i", "ci", "add", "view", "info", "pack", "update"},
    "pnpm": {"install", "i", "add", "dlx", "view", "update"},
    "yarn": {"install", "add", "info", "upgrade", "dlx"},
    "go": {"get", "install"},
    "cargo": {"install", "add", "fetch", "search", "update"},
    "gem": {"install", "fetch", "search", "unpack"},
    "bundle": {"install", "update", "add"},
    "composer": {"install", "require", "update"},
    "conda": {"install", "create", "update", "search"},
    "mamba": {"install", "create", "update", "search"},
    "poetry": {"install", "add", "update"},
    "pipenv": {"install", "update"},
    "pipx": {"install", "run"},
    "apt": {"install", "update", "download", "source"},
    "apt-get": {"install", "update", "download", "source"},
    "apk": {"add", "update", "fetch"},
    "dnf": {"install", "download"},
    "yum": {"install"},
    "uv": {"add", "sync", "tool"},
}
# Quick, since most commands hold none of these words.
_WORTH_READING = re.compile(
    r"\b("
    + "|".join(
        sorted(_TRANSFER | _REMOTE | _FORGES | _GIT | _PACKAGES.keys() | {"rsync", "pip", "remote", "submodule"})
    )
    + r")|"
    + _FETCHING.pattern
)
_PIP = {"install", "download", "wheel", "index", "search"}
_PIP_VALUES = {"-r", "--requirement", "-c", "--constraint", "-t", "--target", "-d", "--dest", "-i", "--index-url", "-f"}
_PIP_VALUES |= {"--find-links", "--extra-index-url", "-w", "--wheel-dir", "--prefix", "--root"}


def reaching(command: str) -> Iterator[tuple[str, str]]:
    """The parts of a command that reach for the ``network``, a ``package_index`` or ``upstream``, with the words."""
    read = without_data(command)
    if _WORTH_READING.search(read):
        yield from dict.fromkeys(_reaching(read))


def _reaching(command: str) -> Iterator[tuple[str, str]]:
    for words in _simple_commands(command):
        if (program := PurePosixPath(words[0]).name) in _SHELLS and "-c" in words[1:-1]:
            yield from _reaching(words[words.index("-c") + 1])
        elif kind := _kind(program, words[1:]):
            yield kind, " ".join(words)


def without_data(command: str) -> str:
    """A command without the text that it hands to programs that only write it down."""

    def keep(match: re.Match[str]) -> str:
        line = command[command.rfind("\n", 0, match.start()) + 1 : match.start()]
        program = next(iter(_stripped(_SEPARATORS.split(line)[-1].split())), "")
        name = PurePosixPath(program).name
        if name in _SHELLS:
            return f"{match['rest']}\n{match['data']}\n"
        return f" {shlex.quote(match['data'])} {match['rest']}\n" if _INTERPRETER.match(name) else match["rest"]

    return _HEREDOC.sub(keep, command)


def answer_place(text: str, packages: Collection[str]) -> str:
    """The first place in ``text`` where an answer may lie, "" when there is none.

    Args:
        text: A command without its data, or a path.
        packages: Names under which the project may be installed.
    """
    names = "|".join(map(re.escape, sorted(packages)))
    places = [
        r"/proc/(?:\d+|self|\*|\$\w+)/(?:environ|root)\b",
        r"(?:~|\$HOME|/root|/home/\w+)/\.cache/(?:pip|uv|pypoetry)\b",
        r"\.npm/_cacache\b",
        r"/\.trajmake-\S*",
    ]
    if names:
        places.append(rf"(?:site|dist)-packages/(?i:{names})(?:/|\.py\b|[\s'\")]|$)\S*")
        places.append(rf"\bpip3?\s+show\s+(?:-f|--files)\s+(?i:{names})\b")
    found = re.search("|".join(f"(?:{place})" for place in places), text)
    return found.group().strip() if found else ""


def _simple_commands(command: str) -> Iterator[list[str]]:
    """The words of each command in a pipeline, list or substitution, from the program on."""
    raw = _WORDS.findall(command.replace("\\\n", " "))
    for group in _groups([word for word in raw if not word.startswith("#")]):
        if rest := _stripped([_PARTS.sub(_unquoted, word) for word in group]):
            yield rest
    for word in raw:
        for part in _PARTS.finditer(word):
            if part.group().startswith('"'):
                for inner in _SUBSTITUTION.findall(part.group()):
                    yield from _simple_commands("".join(inner))


def _unquoted(part: re.Match[str]) -> str:
    text = part.group()
    if text[0] == "'":
        return text.strip("'") if len(text) > 1 else ""
    return re.sub(r"\\(.)", r"\1", text[1:-1] if text[0] == '"' else text)


def _groups(words: Sequence[str]) -> Iterator[list[str]]:
    """Words between separators, without redirections."""
    group: list[str] = []
    target = False
    for word in [*words, ";"]:
        if _SEPARATORS.fullmatch(word):
            yield group
            group, target = [], False
        elif _REDIRECTION.fullmatch(word):
            target = True
            if group and group[-1].isdigit():
                group.pop()
        elif target:
            target = False
        else:
            group.append(word)


def _stripped(words: Sequence[str]) -> list[str]:
    rest = list(words)
    while rest:
        name = PurePosixPath(rest[0]).name
        if name == "timeout":
            rest = rest[1:]
            while rest and (rest[0].startswith("-") or re.fullmatch(r"[\d.]+[smhd]?", rest[0])):
                rest = rest[1:]
        elif name in _BEFORE:
            rest = rest[1:]
            while rest and rest[0].startswith("-"):
                rest = rest[1:]
        elif _ASSIGNMENT.match(rest[0]):
            rest = rest[1:]
        else:
            break
    return rest


def _kind(program: str, arguments: Sequence[str]) -> str:
    if _NEVER & set(arguments[:2]):
        return ""
    plain = [word for word in arguments if not word.startswith("-")]
    if program in _TRANSFER:
        return _transfer(plain)
    if program in _REMOTE:
        return "" if any(_LOCAL_URL.match(word) for word in plain) or not plain else "network"
    if program in _FORGES:
        return "upstream" if plain else ""
    if program == "rsync":
        return "network" if any(re.match(r"[\w.@-]+:", word) for word in plain) else ""
    if program == "git":
        return _git(arguments)
    if _INTERPRETER.match(program):
        return _interpreted(arguments)
    return _packages(program, arguments, plain)


def _transfer(plain: Sequence[str]) -> str:
    if addresses := [word for word in plain if "://" in word]:
        return "" if all(_LOCAL_URL.match(word) for word in addresses) else "network"
    bare = [word for word in plain if _HOST.match(word)]
    return "network" if bare and not any(_LOCAL_URL.match(word) for word in plain) else ""


def _git(arguments: Sequence[str]) -> str:
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        rest = rest[2 if rest[0] in ("-C", "-c", "--git-dir", "--work-tree") else 1 :]
    verb, plain = (rest[0] if rest else ""), [word for word in rest[1:] if not word.startswith("-")]
    if verb == "clone" and plain and (plain[0].startswith((".", "/", "file://", "~", "$")) or ":" not in plain[0]):
        return ""  # of a repository on this machine
    if verb in _GIT or (verb == "remote" and plain and plain[0] in _GIT_REMOTE):
        return "upstream"
    return "upstream" if verb == "submodule" and plain and plain[0] in ("update", "add") else ""


def _interpreted(arguments: Sequence[str]) -> str:
    if list(arguments[:2]) == ["-m", "pip"]:
        return _packages("pip", arguments[2:], [word for word in arguments[2:] if not word.startswith("-")])
    code = " ".join(word for word in arguments if "\n" in word or " " in word)
    return "network" if _FETCHING.search(code) and _REMOTE_URL.search(code) else ""


def _packages(program: str, arguments: Sequence[str], plain: Sequence[str]) -> str:
    if program == "uv" and plain[:1] == ["pip"]:
        return _packages("pip", [word for word in arguments if word != "pip"], plain[1:])
    if re.fullmatch(r"pip[0-9.]*", program):
        return "package_index" if plain and plain[0] in _PIP and _wants_index(arguments) else ""
    if program == "go" and plain[:2] == ["mod", "download"]:
        return "package_index"
    if program == "go" and plain[:1] == ["install"]:
        return "package_index" if any("@" in word for word in plain) else ""
    return "package_index" if plain and plain[0] in _PACKAGES.get(program, ()) else ""


def _wants_index(arguments: Sequence[str]) -> bool:
    """Whether pip is asked for anything that is not on this machine: ``pip install -e .`` is not."""
    if "--no-index" in arguments:
        return False
    rest = [word for word in arguments if word not in ("-e", "--editable")]
    wanted = []
    skip = False
    for word in rest[rest.index(next(w for w in rest if w in _PIP)) + 1 :]:
        if skip:
            skip = False
        elif word in _PIP_VALUES:
            skip = True
            wanted += ["requirements"] if word in ("-r", "--requirement") else []
        elif not word.startswith("-") and not re.match(r"[<>&]|\d$", word):
            wanted.append(word)
    local = re.compile(r"[./~$]|file:|.*\.(whl|tar\.gz|zip)$")
    return any(not local.match(word) or ("://" in word and not word.startswith("file:")) for word in wanted)
