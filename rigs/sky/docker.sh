#!/bin/bash
# In place of Docker on the rig's machines, which have none: `docker run` runs the container's program as a process.
[ "$1" = run ] || { [ "$1" = pull ] && echo "$2: taken as it is"; exit 0; }
shift
program=()
while [ $# -gt 0 ]; do
  case $1 in
    --entrypoint) program=("$2"); shift 2 ;;
    -e) [[ $2 == *=* ]] && export "$2"; shift 2 ;;
    --rm | --privileged | --init) shift ;;
    -*) shift 2 ;;
    *) break ;;
  esac
done
shift  # the image
exec "${program[@]}" "$@"
