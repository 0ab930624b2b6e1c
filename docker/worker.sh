#!/usr/bin/env bash
# A dom0's four services in one container; when one ends, all end, and the engine starts the container anew.
set -u
python -m worker.agent.daemon &
python -m celery -A worker.listener.celery_app worker --concurrency 1 --loglevel INFO \
    --without-mingle --without-gossip --without-heartbeat -n "$WEBXEN_HOST@dom0" &
python -m worker.console.daemon &
python -m worker.relayd.daemon &
trap 'kill $(jobs -p) 2>/dev/null; wait; exit 0' TERM INT
wait -n
echo "a service ended" >&2
kill $(jobs -p) 2>/dev/null
wait
exit 1
