#!/bin/sh
# From "I want a machine" to bytes of its console, by the API alone.
#
#   make up                # or: make up DOM0=fake
#   docs/walkthrough.sh    # as alice of .webxen/demo.json
#
# Against another portal:  WEBXEN_URL=https://… WEBXEN_TOKEN=wx_… docs/walkthrough.sh
# IMAGE, SIZE and NAME choose the machine; KEEP=1 leaves it running at the end.
# Needs curl, and a python3 with `websockets` (the .venv of this repository has it).
set -eu

here=$(dirname "$0")/..
PYTHON=${PYTHON:-$here/.venv/bin/python}
[ -x "$PYTHON" ] || PYTHON=python3
demo=${WEBXEN_DATA:-$here/.webxen}/demo.json

# show EXPRESSION < JSON: print something of the answer `d`, e.g. show 'd["id"]'
show() { "$PYTHON" -c 'import json, sys; print(eval(sys.argv[1], {"d": json.load(sys.stdin)}))' "$1"; }

if [ -z "${WEBXEN_URL:-}" ]; then
    [ -r "$demo" ] || { echo "Set WEBXEN_URL and WEBXEN_TOKEN, or run make up first ($demo)." >&2; exit 2; }
    WEBXEN_URL=$(show 'd["url"]' <"$demo")
    WEBXEN_TOKEN=$(show 'd["accounts"][0]["token"]' <"$demo")
fi
api=$WEBXEN_URL/api/v1

# The token goes to curl by a file that only we can read: arguments are seen by everybody on this machine.
secrets=$(mktemp)
trap 'rm -f "$secrets"' EXIT
printf 'header = "Authorization: Bearer %s"\n' "$WEBXEN_TOKEN" >"$secrets"

# call METHOD ADDRESS [JSON]: the answer, or the problem and the end
call() {
    answer=$(curl --silent --show-error --config "$secrets" --request "$1" --write-out '\n%{http_code}' \
        --header 'Content-Type: application/json' --header "Idempotency-Key: $(new_key)" \
        --data "${3:-}" "$api/$2")
    status=$(printf '%s\n' "$answer" | tail -n 1)
    answer=$(printf '%s\n' "$answer" | sed '$d')
    case $status in
    2*) printf '%s\n' "$answer" ;;
    *) echo "$1 $2 was refused with $status: $answer" >&2; return 1 ;;
    esac
}
look() { curl --silent --show-error --fail-with-body --config "$secrets" "$api/$1"; }
new_key() { "$PYTHON" -c 'import uuid; print(uuid.uuid4())'; }

# follow JOB: say each step until the job has ended; the answer is held up to 2 s while nothing changes
follow() {
    while :; do
        job=$(look "jobs/$1/?wait=2")
        state=$(printf '%s' "$job" | show 'd["status"]')
        printf '%s' "$job" | show '"{status:9} {progress:3} %  {step}{waiting_for}".format(**d)'
        case $state in
        SUCCEEDED) return 0 ;;
        FAILED | CANCELLED) printf '%s' "$job" | show 'd["error"]' >&2; return 1 ;;
        esac
    done
}

echo "== who am I"
look me/ | show '"%s, project %s" % (d["username"], d["projects"][0]["slug"])'

# the image that asks for least unless one was named, and the first size that it fits into
image=${IMAGE:-$(look images/ | show 'min(d["results"], key=lambda image: image["min_memory_mib"])["slug"]')}
needs=$(look images/ | show '[image["min_memory_mib"] for image in d["results"] if image["slug"] == "'"$image"'"][0]')
size=${SIZE:-$(look sizes/ | show '[size["slug"] for size in d["results"] if size["memory_mib"] >= '"$needs"'][0]')}
name=${NAME:-walk-$(new_key | cut -c1-6)}
password=$(new_key)

echo "== asking for $name: $size, $image"
request=$(call POST requests/ "{\"name\": \"$name\", \"image\": \"$image\", \"size\": \"$size\",
    \"password\": \"$password\", \"reason\": \"A walk through the API.\"}")
if [ "$(printf '%s' "$request" | show 'd["status"]')" != APPROVED ]; then
    printf 'It waits for staff: %s\n' "$(printf '%s' "$request" | show 'd["why_pending"]')"
    exit 3
fi
machine=$(printf '%s' "$request" | show 'd["machine"]')

echo "== being made"
follow "$(printf '%s' "$request" | show 'd["job"]')"
look "machines/$machine/" | show '"{name} is {power} on {host}".format(**d)'

echo "== its console"
seat=$(call POST "machines/$machine/console/")
# The ticket is the credential: it goes by the environment, never by the command line or the address.
SEAT=$seat PASSWORD=$password "$PYTHON" - <<'EOF'
import json
import os
import sys
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

offset = 0
seat, password = json.loads(os.environ["SEAT"]), os.environ["PASSWORD"]
speaks = ["webxen.console.v1", "webxen.ticket." + seat["ticket"]]
#: what we wait for on the screen, and what we type then; a guest may let root in without a password
talk = {b"login:": "root", b"assword:": password, b"# ": "cat /sys/hypervisor/type"}
wanted = [b"login:"]

seen, count, until = b"", 0, time.monotonic() + float(os.environ.get("CONSOLE_SECONDS", "90"))
with connect(seat["url"], subprotocols=speaks, proxy=None) as socket:
    while wanted and time.monotonic() < until:
        try:
            frame = socket.recv(timeout=5)
        except TimeoutError:
            if wanted == [b"login:"]:
                socket.send(b"\n")  # a prompt that was there before us: ask for a new one
            continue
        except ConnectionClosed as end:
            sys.exit(f"the console was closed: {end}")
        if isinstance(frame, str):  # talk about the console
            print("--", frame)
            word = json.loads(frame)
            offset = {"hello": word.get("offset"), "gap": word.get("to")}.get(word["type"], offset)
            continue
        sys.stdout.write(frame.decode(errors="replace"))  # the console itself
        seen, count, offset = seen + frame, count + len(frame), offset + len(frame)
        socket.send(json.dumps({"type": "ack", "offset": offset}))
        prompt = next((words for words in wanted if words in seen), None)
        if prompt is None:
            continue
        seen = b""
        wanted = {b"login:": [b"assword:", b"# "], b"assword:": [b"# "], b"# ": [b"xen"]}.get(prompt, [])
        if wanted:
            time.sleep(1)  # a guest prints "Password:" first and stops the echo then
            socket.send(talk[prompt].encode() + b"\n")
print(f"\n== {count} bytes read from the console socket")
if wanted:
    sys.exit(f"but {wanted} did not come in time")
EOF

if [ -z "${KEEP:-}" ]; then
    echo "== being deleted"
    follow "$(call DELETE "machines/$machine/" | show 'd["id"]')"
fi
