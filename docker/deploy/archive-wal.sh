#!/usr/bin/env bash
#
# archive-wal.sh FOLDER PATH FILE
#		Archives a file of WAL: the archive_command of docker/env, as
#		archive-wal.sh FOLDER "%p" "%f".
#
# It succeeds once the file is in the folder under its name and on the disk, and
# not before: the server then removes its own.  A file that is there already is
# never overwritten.  If it is the same one, as after a crash between archiving
# and noting that, all is well; if not, somebody else archives into this folder.
set -euo pipefail

if [ $# != 3 ]; then
	echo 'usage: archive-wal.sh FOLDER PATH FILE' >&2
	exit 2
fi
folder=$1 path=$2 file=$3

if [ ! -d "$folder" ]; then
	echo "archive-wal.sh: the folder \"$folder\" does not exist; make it, for the user of the server to write into" >&2
	exit 1
fi
if [ -e "$folder/$file" ]; then
	if cmp -s "$path" "$folder/$file"; then
		exit 0
	fi
	echo "archive-wal.sh: \"$folder/$file\" exists and differs: another server archives into this folder" >&2
	exit 1
fi

# Whoever reads the folder sees whole files only.
part=$folder/.part.$file
cp -- "$path" "$part"
sync -- "$part"
mv -T -- "$part" "$folder/$file"
sync -- "$folder"
