#!/bin/sh
# The include graph has one direction (docs/internals.md): a back edge fails.
#   layering.sh SOURCE_DIR
cd "$1" || exit 2
status=0
allow() { # folder, allowed folders
    folder=$1; shift
    allowed="$folder"; for a in "$@"; do allowed="$allowed|$a"; done
    bad=$(grep -rnE '^#[[:space:]]*include[[:space:]]+"' "$folder" --include='*.c' --include='*.h' --include='*.def' 2>/dev/null |
          grep -vE "include[[:space:]]+\"($allowed)/")
    [ -z "$bad" ] || { echo "back edge in $folder (may include: $allowed):"; echo "$bad"; status=1; }
}
allow base
allow ir base
allow frontend base ir
allow passes base ir
allow codegen base ir runtime
allow runtime runtime
allow driver base ir frontend passes codegen runtime
[ "$status" = 0 ] && echo "layering: no back edge"
exit $status
