#!/bin/sh
# The portal's first steps, each harmless when it is taken again.
set -eu
python manage.py migrate --noinput
python manage.py portal_key
python manage.py portal_key --public > /host/portal.pub
python manage.py seed_demo --images /host/images.json --out /data/people.json
python manage.py accept_host fake1 --key-file /host/host.pub
