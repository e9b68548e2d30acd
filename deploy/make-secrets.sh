#!/bin/sh
# The env files of compose.yaml: passwords of Postgres and Valkey, and the master key. Never over an existing file.
# Usage: sh deploy/make-secrets.sh [FOLDER]     default: secrets beside this script
set -eu
folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"

random() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
keep() {
    if [ -e "$folder/$1" ]; then
        echo "$folder/$1 is there already: left as it is" >&2
        cat >/dev/null
    else
        cat >"$folder/$1"
    fi
}
# All stores or none: an address with another password than its server's opens nothing.
for name in postgres.env valkey.env stores.env; do
    [ -e "$folder/$name" ] && stores=there
done
if [ -z "${stores:-}" ]; then
    postgres=$(random)
    valkey=$(random)
    keep postgres.env <<END
POSTGRES_USER=synapscale
POSTGRES_DB=synapscale
POSTGRES_PASSWORD=$postgres
END
    keep valkey.env <<END
VALKEY_PASSWORD=$valkey
END
    keep stores.env <<END
DATABASE_URL=postgresql://synapscale:$postgres@postgres:5432/synapscale
REDIS_URL=redis://:$valkey@valkey:6379/0
END
else
    echo "$folder: the stores' files are left as they are" >&2
fi
keep gateway.env <<END
# Keep a copy of this key apart from the database and its backups: without it nothing that is sealed opens.
SYNAPSCALE_MASTER_KEY=$(head -c 32 /dev/urandom | base64)
# Provider keys, under the names that config.yaml gives them:
# OPENAI_API_KEY=
END
