#!/bin/bash
# Run once, when the database server is empty: for each service a role and a database of its own, closed to the others.
set -euo pipefail
administer() { psql --set ON_ERROR_STOP=1 --quiet --username "${POSTGRES_USER:-postgres}" --dbname postgres "$@"; }
for service in membership events benchmark notifications; do
  administer --set service="$service" --set password="$(cat "/platform/postgres/$service.password")" \
    --file /platform/service.sql
done
administer --command 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; REVOKE CONNECT ON DATABASE template1 FROM PUBLIC;'
