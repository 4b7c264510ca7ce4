#!/usr/bin/env bash
#
# copy-tree.sh DIRECTORY
#		Copies the source tree into DIRECTORY: what git tracks and what it does
#		not ignore; in a tree without git, everything.
set -euo pipefail
cd "$(dirname "$0")/../.."

# root may read the tree of another user
list_files()
{
	git -c safe.directory='*' ls-files -z --cached --others --exclude-standard 2>/dev/null |
		while IFS= read -r -d '' file; do
			# a file that was deleted but not from the index is still listed
			if [ -e "$file" ] || [ -L "$file" ]; then
				printf '%s\0' "$file"
			fi
		done
}

if [ -e .git ] && command -v git >/dev/null; then
	list_files | tar --create --null --files-from=- --file=-
else
	tar --create --exclude=./.git --file=- .
fi | tar --extract --no-same-owner --directory="$1"
