#!/usr/bin/env bash
#
# make-secrets.sh FOLDER
#		Makes the secrets of the compose stack: a random password a file, and a certificate
#		that the server signs itself, to be replaced by one that clients can verify.
#
# Those that are there already stay.  The folder is for its owner only; the files are readable, as
# each of them is mounted alone into a container in which some other user reads it.
set -euo pipefail

folder=${1:?the folder to make them in, best outside of the source tree}
mkdir -p "$folder"
chmod 700 "$folder"
umask 022
for name in postgres_password replication_password app_password board_password exporter_password grafana_password; do
	[ -s "$folder/$name" ] || openssl rand -hex 24 | tr -d '\n' >"$folder/$name"
done
if [ ! -s "$folder/server.key" ]; then
	openssl req -new -x509 -nodes -newkey rsa:2048 -days 365 -subj "/CN=${VQUEUE_CN:-postgres}" \
		-keyout "$folder/server.key" -out "$folder/server.crt" 2>/dev/null
	chmod 644 "$folder/server.key"
fi
