"""The bash program of a container's first process: what the open shell answers.

It is sent as the first lines of standard input to ``bash -p``, process 1 of the
container, which goes on reading requests from the same stream, one line each
(see :mod:`trajmake.engines.shell`). It needs bash >= 4.2, cat, head, mkdir,
chmod and rm, found once, before anything else could change them.

Why it is written as it is:

* Process 1 never waits for a command; it sits in its read of standard input.
  So it ends, and everything in the container with it, as soon as the host's
  end of the stream closes, and it can be told to kill a command at any time.
* A command's output passes a pipe and a ``cat`` into a file whose name is
  already gone. Were the file itself the command's output, ``> /dev/stderr``
  would cut off all that was written before; were the pipe the reply itself, a
  background process could hang or pollute later replies.
* The file is the one bash makes for a here-string (it is given a text longer
  than a pipe holds, since bash 5.1 uses a pipe for short ones): no fork, no
  name left behind for ``grep -r / `` to find. bash makes it read-only, which
  stops all but root.
* ``set -m`` gives each command its process group, so that ``kill 0`` in it does
  not reach our processes, and SIGINT is not ignored in it.
* Requests come as ``eval '...'``: when no process can be forked (a fork bomb was
  left behind) bash abandons the eval instead of ending.
"""

from __future__ import annotations

OUTPUT_LIMIT_KIB = 4 * 1024 * 1024
"""A command that writes more than this gets SIGPIPE, lest it fill the machine's disk."""

FIRST_CHUNK = 65536
"""Bytes of output that come with the exit code, unasked: most commands need no second request."""

TOOLS = ("cat", "head", "mkdir", "chmod", "rm")
"""What the image must hold besides bash."""

SEPARATOR = b"\x1e"
"""Starts every frame: ``<separator><nonce> <word> <values>\\n``."""

_PROGRAM = r"""
set -m; set +o posix; trap : INT PIPE; ulimit -S -c 0; umask 022
tm_cat=$(type -P cat) tm_head=$(type -P head) tm_mkdir=$(type -P mkdir) tm_chmod=$(type -P chmod) tm_rm=$(type -P rm)
printf -v tm_pad %66000s
tm_say() { printf '\036%s\n' "$*"; }
tm_kill() { kill -s KILL -- -1; tm_say "$1 killed"; }
tm_poll() { kill -0 "$tm_job" || tm_say "$1 dead"; }
tm_more() { tm_say "$1 body"; "$tm_head" -c "$2" <&7; tm_say "$1 end $?"; }
tm_get() {
  [[ -f $2 ]] || { tm_say "$1 missing"; return; }
  tm_say "$1 body"; "$tm_head" -c 1T <"$2"; tm_say "$1 end $?"
}
tm_put() {
  local line code
  [[ -d ${4%/*}/ ]] || "$tm_mkdir" -p -- "${4%/*}/"
  ( exec 2>&1; exec 6>"$4" || exit 99; tm_say "$1 ready"; exec "$tm_head" -c "$2" >&6 )
  code=$?
  ((code == 99)) && { tm_say "$1 refused"; return; }
  ((code == 0)) || while IFS= read -r line && [[ $line != ": $1" ]]; do :; done
  "$tm_chmod" -- "$3" "$4"
  tm_say "$1 put $code"
}
tm_command() {
  local tm_script=$3
  echo 500 >/proc/self/oom_score_adj
  exec </dev/null >&8 2>&1 7<&- 8>&- 9>&- 63>&-
  cd -- "$1" || exit 126
  set -- "$2" "${@:4}"
  (($# > 1)) && export "${@:2}"
  [[ $tm_script ]] && set -- 'eval "$('"$tm_cat $1; $tm_rm -f $1"')"'
  exec -a bash "$BASH" -c "$1"
}
tm_runner() {
  local code marked=0
  set -m
  tm_say "$1 started"
  {
    ( tm_command "${@:2}" )
    code=$?
    trap '' PIPE
    printf '\036%s\n' "$1" >&8 && marked=1
  } 8> >(ulimit -f KIB; exec "$tm_cat" >&9)
  tm_say "$1 exit $code $marked"
  "$tm_head" -c FIRST <&7
  tm_say "$1 end"
}
tm_open() {
  local TMPDIR
  for TMPDIR in /tmp /var/tmp / /dev/shm; do
    exec 7<<<"$tm_pad" || continue
    exec 9>/proc/self/fd/7 && return
    "$tm_chmod" 600 /proc/self/fd/7 && exec 9>/proc/self/fd/7 && return
  done
}
tm_run() {
  tm_open || { tm_say "$1 full"; return; }
  ( tm_runner "$@" ) & tm_job=$!
}
[[ -d /tmp ]] || { "$tm_mkdir" -p /tmp; "$tm_chmod" 1777 /tmp; }
exec 2>/dev/null
"""


def program(nonce: str) -> bytes:
    """The program, ending with a frame ``ready`` or ``lacks <tool>``."""
    check = "\n".join(f'[[ $tm_{tool} ]] || {{ tm_say "{nonce} lacks {tool}"; exit; }}' for tool in TOOLS)
    return (
        _PROGRAM.replace("KIB", str(OUTPUT_LIMIT_KIB)).replace("FIRST", str(FIRST_CHUNK))
        + check
        + f'\ntm_say "{nonce} ready"\n'
    ).encode()


def quote(text: bytes) -> bytes:
    """``text`` as one word of bash, any bytes but NUL."""
    return b"'" + text.replace(b"'", b"'\\''") + b"'"


def request(*words: str) -> bytes:
    """One request: a function of the program and its arguments."""
    line = b" ".join(quote(word.encode("utf-8", errors="surrogateescape")) for word in words)
    return b"eval " + quote(line) + b"\n"
