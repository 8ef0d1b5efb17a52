#!/bin/sh
# build.sh CLASSPATH OUT compiles the client for the kafka-clients on the class
# path into OUT. The share consumer is left out where the library has none.
set -eu
here=$(dirname "$0")
javac=${JAVAC:-javac}
sources="Client Options Result Config Load Group Transactions Optional Admin"
# 3.9 has the class, but not yet the configuration of groups, which it needs.
if "${JAVAP:-javap}" -cp "$1" 'org.apache.kafka.common.config.ConfigResource$Type' | grep -q ' GROUP;'; then
	sources="$sources ShareMember"
fi
mkdir -p "$2"
set -- "$1" "$2" $(for s in $sources; do echo "$here/$s.java"; done)
classpath=$1 out=$2
shift 2
exec "$javac" -nowarn -Xlint:none -cp "$classpath" -d "$out" "$@"
