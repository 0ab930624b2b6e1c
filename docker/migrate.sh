#!/bin/sh
# The portal's first steps, each harmless when it is taken again: database, signing key, demo accounts, host
# with its account at the broker.
set -eu
python manage.py prepare_desk --public-out /host/portal.pub \
    --images /host/images.json --out /data/people.json --host fake1 /host/host.pub
printf '%s\n' "$HOST_PASSWORD" | python manage.py broker_account fake1
